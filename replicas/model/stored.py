"""A tensor that is still in its file, and the checks made before any is read.

Both file formats hand over the same thing: a mapping from Hugging Face names
to stored tensors, whose shapes are known from the files' headers. So a wrong
or incomplete set of weights is found, and named, before a byte is allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from replicas.model.config import ModelConfig
from replicas.model.errors import CorruptWeights

if TYPE_CHECKING:  # so that who only wants to know what a model is need not load it
    import torch

EMBEDDING = "model.embed_tokens.weight"
NORM = "model.norm.weight"
HEAD = "lm_head.weight"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """`read` returns the tensor on the CPU, in whatever float type is stored."""

    shape: tuple[int, ...]
    file: Path
    read: Callable[[], torch.Tensor]


def layer_prefix(layer: int) -> str:
    """What the names of one layer's tensors begin with."""
    return f"model.layers.{layer}."


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a model of this configuration has."""
    shapes: dict[str, tuple[int, ...]] = {
        EMBEDDING: (config.vocab_size, config.hidden_size),
        NORM: (config.hidden_size,),
    }
    if not config.tied_embeddings:
        shapes[HEAD] = (config.vocab_size, config.hidden_size)
    one_layer = _layer_shapes(config)
    for layer in range(config.layers):
        shapes |= {layer_prefix(layer) + name: shape for name, shape in one_layer.items()}
    return shapes


def check_tensors(config: ModelConfig, tensors: Mapping[str, StoredTensor]) -> None:
    """Refuse weights that are not exactly those the configuration calls for."""
    expected = tensor_shapes(config)
    missing = sorted(expected.keys() - tensors.keys())
    if missing:
        files = sorted({str(stored.file) for stored in tensors.values()})
        where = ", ".join(files) or "no weights file"
        raise CorruptWeights(f"The weights ({where}) lack {_listed(missing)}.")
    for name, shape in expected.items():
        stored = tensors[name]
        if stored.shape != shape:
            raise CorruptWeights(
                f"{name} in {stored.file} has the shape {stored.shape}; "
                f"the configuration calls for {shape}."
            )
    unexpected = sorted(
        name for name in tensors.keys() - expected.keys() if not _is_redundant(config, name)
    )
    if unexpected:
        file = tensors[unexpected[0]].file
        raise CorruptWeights(
            f"{file} holds what the configuration does not account for: {_listed(unexpected)}."
        )


def _layer_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    hidden, intermediate = config.hidden_size, config.intermediate_size
    query, key_value = config.query_size, config.kv_size
    shapes: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (query, hidden),
        "self_attn.k_proj.weight": (key_value, hidden),
        "self_attn.v_proj.weight": (key_value, hidden),
        "self_attn.o_proj.weight": (hidden, query),
        "post_attention_layernorm.weight": (hidden,),
        "mlp.gate_proj.weight": (intermediate, hidden),
        "mlp.up_proj.weight": (intermediate, hidden),
        "mlp.down_proj.weight": (hidden, intermediate),
    }
    if config.qkv_bias:
        shapes["self_attn.q_proj.bias"] = (query,)
        shapes["self_attn.k_proj.bias"] = (key_value,)
        shapes["self_attn.v_proj.bias"] = (key_value,)
    if config.qk_norm:
        shapes["self_attn.q_norm.weight"] = (config.head_dim,)
        shapes["self_attn.k_norm.weight"] = (config.head_dim,)
    return shapes


def _is_redundant(config: ModelConfig, name: str) -> bool:
    """Some files repeat a tied head, and old ones store what the rotary base implies."""
    return (config.tied_embeddings and name == HEAD) or name.endswith("rotary_emb.inv_freq")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more tensors"
