"""Which kernels a model runs on: native ones where they can be built, else torch's."""

from __future__ import annotations

import logging
import os

import torch

from replicas.model.config import ModelConfig
from replicas.model.errors import UnsupportedModel
from replicas.model.kernels.compiler import NotBuilt, built_library
from replicas.model.kernels.library import open_library
from replicas.model.kernels.native import NativeKernels, suits
from replicas.model.kernels.plain import TorchKernels

LOG = logging.getLogger(__name__)
VARIABLE = "BLOCKYARD_KERNELS"  # auto or torch, for those who cannot pass it
CHOICES = ("auto", "torch")


def choose_kernels(
    config: ModelConfig, *, asked: str | None, device: torch.device, dtype: torch.dtype
) -> NativeKernels | TorchKernels:
    """The fastest kernels there are for this model, or torch's where these are asked for."""
    choice = asked or os.environ.get(VARIABLE) or "auto"
    if choice not in CHOICES:
        raise UnsupportedModel(f"kernels are {choice!r}; they must be one of {', '.join(CHOICES)}.")
    if choice == "auto" and device.type == "cpu":
        try:
            library = open_library(built_library())
        except (NotBuilt, OSError) as error:
            LOG.warning("no native kernels, the model runs slower in torch: %s", error)
        else:
            if suits(library, config, dtype):
                return NativeKernels(library, config)
            LOG.info("the native kernels do not fit heads of %d as %s", config.head_dim, dtype)
    return TorchKernels(config, device=device, dtype=dtype)
