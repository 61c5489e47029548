"""Models known by their shape alone, with random weights made on the device.

Time depends on shapes, not on what weights say, so a step can be measured
where no checkpoint can be had. Nothing such a model says means anything.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from replicas.model import tiny
from replicas.model.config import Llama3Scaling, ModelConfig, RopeConfig
from replicas.model.kernels.choice import choose_kernels
from replicas.model.loading import LoadedModel
from replicas.model.stored import StoredTensor, tensor_shapes
from replicas.model.transformer import Transformer
from replicas.model.weights import load_weights

SPREAD = 0.02  # of weights, as models are initialised: activations stay finite through all layers

SHAPES = {
    "llama3-8b": ModelConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        layers=32,
        heads=32,
        kv_heads=8,
        head_dim=128,
        context_tokens_max=131_072,
        norm_eps=1e-5,
        rope=RopeConfig(500_000.0, Llama3Scaling(8.0, 1.0, 4.0, 8192)),
        tied_embeddings=False,
    ),
    "qwen3-0.6b": ModelConfig(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        layers=28,
        heads=16,
        kv_heads=8,
        head_dim=128,
        context_tokens_max=40_960,
        norm_eps=1e-6,
        rope=RopeConfig(1_000_000.0),
        tied_embeddings=True,
        qk_norm=True,
    ),
    "tiny": tiny.CONFIG,
}


def random_model(
    shape: str, *, device: torch.device, dtype: torch.dtype, deterministic: bool = False
) -> LoadedModel:
    """A model of this shape; a ModelError where its kernels are refused."""
    config = SHAPES[shape]
    kernels = choose_kernels(
        config, asked=None, device=device, dtype=dtype, deterministic=deterministic
    )
    generator = torch.Generator(device).manual_seed(1)

    def drawn(size: tuple[int, ...]) -> torch.Tensor:
        return SPREAD * torch.randn(size, generator=generator, device=device, dtype=dtype)

    tensors = {
        name: StoredTensor(size, Path("random"), partial(drawn, size))
        for name, size in tensor_shapes(config).items()
    }
    weights = load_weights(config, tensors, kernels, device=device, dtype=dtype)
    return LoadedModel(
        name=f"{shape}, random weights",
        revision="random",
        config=config,
        transformer=Transformer(config, weights, kernels, device=device),
        device=device,
        dtype=dtype,
        kernels=kernels,
    )
