"""Turn stored tensors into the decoder's weights, one layer at a time.

Projections that read the same input are merged into one product: query, key
and value; gate and up. Every tensor is converted, merged and packed before the
next is read, so loading needs one layer more than the finished weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from replicas.model.config import ModelConfig
from replicas.model.kernels.seam import Kernels, Linear
from replicas.model.stored import EMBEDDING, HEAD, NORM, StoredTensor, check_tensors, layer_prefix


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One decoder layer. The head norms are there for models that norm queries and keys."""

    input_norm: Tensor
    qkv: Linear
    head_norms: tuple[Tensor, Tensor] | None  # of queries, of keys
    output: Linear
    post_norm: Tensor
    gate_up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class Weights:
    """The whole decoder. With tied embeddings the head is another layout of the embedding."""

    embedding: Tensor
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    head: Linear


def load_weights(
    config: ModelConfig,
    tensors: Mapping[str, StoredTensor],
    kernels: Kernels,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Weights:
    """Check all tensors against the configuration, then read them: norms in the type of the
    activations, all that is large in `dtype`."""
    check_tensors(config, tensors)

    def read(name: str) -> Tensor:
        # Copied even if nothing changes: a view would tie the model to the mapped file.
        kind = kernels.dtype if name.endswith("norm.weight") else dtype
        return tensors[name].read().to(device=device, dtype=kind, copy=True)

    embedding = read(EMBEDDING)
    head = embedding if config.tied_embeddings else read(HEAD)
    return Weights(
        embedding=embedding,
        layers=tuple(_load_layer(config, n, read, kernels) for n in range(config.layers)),
        norm=read(NORM),
        head=kernels.linear(head, None),
    )


def _load_layer(
    config: ModelConfig, layer: int, read: Callable[[str], Tensor], kernels: Kernels
) -> LayerWeights:
    prefix = layer_prefix(layer)

    def merged(kind: str, *parts: str) -> Tensor:
        return torch.cat([read(f"{prefix}{part}_proj.{kind}") for part in parts])

    qkv = ("self_attn.q", "self_attn.k", "self_attn.v")
    bias = merged("bias", *qkv) if config.qkv_bias else None
    norms = [prefix + f"self_attn.{which}_norm.weight" for which in ("q", "k")]
    return LayerWeights(
        input_norm=read(prefix + "input_layernorm.weight"),
        qkv=kernels.linear(merged("weight", *qkv), bias),
        head_norms=(read(norms[0]), read(norms[1])) if config.qk_norm else None,
        output=kernels.linear(merged("weight", "self_attn.o"), None),
        post_norm=read(prefix + "post_attention_layernorm.weight"),
        gate_up=kernels.linear(merged("weight", "mlp.gate", "mlp.up"), None),
        down=kernels.linear(merged("weight", "mlp.down"), None),
    )
