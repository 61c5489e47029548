"""From a source on disk to a model that can run."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from protos.messages import ModelCard
from replicas.model.config import ModelConfig
from replicas.model.errors import UnsupportedModel
from replicas.model.fingerprint import revision_of
from replicas.model.gguf_file import open_gguf
from replicas.model.hf_config import read_hf_config
from replicas.model.kernels.choice import choose_kernels
from replicas.model.kernels.seam import Kernels
from replicas.model.safetensors_files import open_safetensors
from replicas.model.source import ModelSource
from replicas.model.stored import StoredTensor
from replicas.model.transformer import Transformer
from replicas.model.weights import load_weights

LOG = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, and what it is called in the cluster."""

    name: str
    revision: str
    config: ModelConfig
    transformer: Transformer
    device: torch.device
    dtype: torch.dtype
    kernels: Kernels

    def card(self, block_size: int) -> ModelCard:
        """What a replica serving this model in blocks of this size announces."""
        return ModelCard(
            name=self.name,
            revision=self.revision,
            dtype=str(self.dtype).removeprefix("torch."),
            block_size=block_size,
            context_tokens_max=self.config.context_tokens_max,
            vocab_size=self.config.vocab_size,
        )


def load_model(
    source: ModelSource,
    *,
    device: str,
    dtype: str,
    kernels: str | None = None,
    deterministic: bool = False,
) -> LoadedModel:
    """Load the model; raises a `ModelError` if it cannot be, or not on this device.

    `dtype` is float32, bfloat16, float16 or auto: bfloat16 on CUDA, float32 on a CPU.
    `kernels` is torch, triton or auto: Triton's on CUDA, native ones on a CPU where they can be
    built; what is not said here is taken from the environment variable BLOCKYARD_KERNELS.
    A `deterministic` model computes the same bits for a request whatever else there is, and says
    in its revision by which arithmetic, so that nothing comes to it from another one.
    """
    began_ns = time.monotonic_ns()
    on = device_of(device)
    of = dtype_of(dtype, on)
    config, tensors = open_model(source.path)
    chosen = choose_kernels(config, asked=kernels, device=on, dtype=of, deterministic=deterministic)
    if on.type == "cpu" and of != torch.float32 and chosen.name == "torch":
        LOG.warning("this CPU multiplies %s slowly; float32 will be faster", of)
    weights = load_weights(config, tensors, chosen, device=on, dtype=of)
    files = {stored.file for stored in tensors.values()}
    revision = revision_of(config, files, chosen.arithmetic if deterministic else None)
    LOG.info(
        "loaded %s (revision %s) on %s as %s, %s kernels, in %d ms",
        source.name,
        revision,
        on,
        of,
        chosen.name,
        (time.monotonic_ns() - began_ns) // 1_000_000,
    )
    return LoadedModel(
        name=source.name,
        revision=revision,
        config=config,
        transformer=Transformer(config, weights, chosen, device=on),
        device=on,
        dtype=of,
        kernels=chosen,
    )


def open_model(path: Path) -> tuple[ModelConfig, Mapping[str, StoredTensor]]:
    """Configuration and unread tensors of a GGUF file or a Hugging Face folder."""
    if path.is_file():
        return open_gguf(path)
    return read_hf_config(path), open_safetensors(path)


def device_of(name: str) -> torch.device:
    """The device of this name, if models run on it and it is here; else UnsupportedModel."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UnsupportedModel(f"There is no device called {name!r}; try cpu or cuda.") from None
    if device.type not in ("cpu", "cuda"):
        raise UnsupportedModel(f"Models run on cpu or cuda, not on {name!r}.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UnsupportedModel(f"The device {name!r} was asked for, but torch finds no CUDA here.")
    return device


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """What auto means on this device, or what the name says; else UnsupportedModel."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise UnsupportedModel(f"dtype is {name!r}; it must be auto or one of {', '.join(DTYPES)}.")
    return DTYPES[name]
