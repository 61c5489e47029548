"""Load a model to be measured, on one thread as replicas of a CPU run."""

from __future__ import annotations

import torch

from replicas.model.loading import LoadedModel, load_model
from replicas.model.source import resolve_model


def load_for_bench(model: str, *, dtype: str) -> LoadedModel:
    """The model on the CPU; raises a ModelError with a sentence. Sets torch to one thread."""
    torch.set_num_threads(1)
    return load_model(resolve_model(model), device="cpu", dtype=dtype)
