"""Which kernels a model runs on: Triton's on CUDA, native ones on a CPU, torch's elsewhere.

Whoever asks for deterministic ones gets such as do the same arithmetic for a
request in every company, or is refused. Native ones always do; Triton's do at
a price, so elsewhere they leave products to torch.
"""

from __future__ import annotations

import importlib
import logging
import os

import torch

from replicas.model.config import ModelConfig
from replicas.model.errors import UnsupportedModel
from replicas.model.kernels.compiler import NotBuilt, built_library
from replicas.model.kernels.library import open_library
from replicas.model.kernels.native import NativeKernels, suits
from replicas.model.kernels.plain import TorchKernels
from replicas.model.kernels.seam import Kernels, NotUsable

LOG = logging.getLogger(__name__)
VARIABLE = "BLOCKYARD_KERNELS"  # one of the choices, for those who cannot pass it
CHOICES = ("auto", "triton", "torch")
TRITON = "replicas.model.kernels.triton_kernels"


def choose_kernels(
    config: ModelConfig,
    *,
    asked: str | None,
    device: torch.device,
    dtype: torch.dtype,
    deterministic: bool = False,
) -> Kernels:
    """The fastest kernels there are for this model, or torch's where these are asked for.

    UnsupportedModel where there are none of the kind that is asked for.
    """
    kernels = _fastest(config, asked, device, dtype, deterministic)
    if deterministic and kernels.arithmetic is None:
        raise UnsupportedModel(
            f"Deterministic kernels were asked for, and there are none for {dtype} with heads of "
            f"{config.head_dim} on {device.type} here: they are the native ones, for a CPU with a "
            "C++ compiler, and Triton's, for CUDA."
        )
    return kernels


def _fastest(
    config: ModelConfig,
    asked: str | None,
    device: torch.device,
    dtype: torch.dtype,
    deterministic: bool,
) -> Kernels:
    choice = asked or os.environ.get(VARIABLE) or "auto"
    if choice not in CHOICES:
        raise UnsupportedModel(f"kernels are {choice!r}; they must be one of {', '.join(CHOICES)}.")
    if choice == "triton" or (choice == "auto" and device.type == "cuda"):
        try:
            return _triton_kernels(config, device, dtype, deterministic)
        except NotUsable as error:
            if choice == "triton":
                raise UnsupportedModel(f"The Triton kernels cannot be used: {error}.") from error
            LOG.warning("no Triton kernels, the model runs slower in torch: %s", error)
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


def _triton_kernels(
    config: ModelConfig, device: torch.device, dtype: torch.dtype, deterministic: bool
) -> Kernels:
    """Imported where they are wanted: not every torch brings Triton, and its import is long."""
    try:
        module = importlib.import_module(TRITON)
    except ImportError as error:
        raise NotUsable(str(error)) from error
    kernels: Kernels = module.open_triton(
        config, device=device, dtype=dtype, deterministic=deterministic
    )
    return kernels
