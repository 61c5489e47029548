"""Read configuration and weights from a GGUF file.

Quantised tensors are expanded to float32, one at a time, when they are read;
the model then runs in its usual type. Two conventions of the format are undone
here, so that everything after sees Hugging Face names and layouts: tensors
have their own names, and files of the architecture `llama` (Mistral's too)
interleave the two halves of every query and key head for another form of the
rotary embedding. Qwen's files do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGUFReader, dequantize
from gguf.gguf_reader import ReaderTensor

from replicas.model.config import (
    CONTEXT_MAX,
    HEAD_DIM_MAX,
    HEADS_MAX,
    LAYERS_MAX,
    ROPE_MAX,
    SIZE_MAX,
    VOCAB_MAX,
    LinearScaling,
    ModelConfig,
    RopeConfig,
)
from replicas.model.errors import CorruptWeights, UnsupportedModel
from replicas.model.settings import Settings
from replicas.model.stored import EMBEDDING, HEAD, NORM, StoredTensor, layer_prefix

ARCHITECTURES = ("llama", "qwen2", "qwen3")

LAYER = re.compile(r"0|[1-9][0-9]{0,3}")
GLOBAL_NAMES = {"token_embd.weight": EMBEDDING, "output_norm.weight": NORM, "output.weight": HEAD}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

FloatArray = npt.NDArray[np.float32]


# The gateways read their tokenizers by the same class (tokenizer_gguf.py), word for word: neither
# side may import the other, and what both may import knows no libraries of models.
class MappedFile(GGUFReader):
    """A reader that is quick, and that ends where its file does.

    Slices of a memmap cost three times those of a plain array, and a vocabulary is many.
    Past the end the library would go on with nothing, for as long as a count claims.
    """

    @property
    def data(self) -> Any:
        return self._data

    @data.setter
    def data(self, mapped: Any) -> None:
        self._data = np.asarray(mapped)

    def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
        values = super()._get(offset, dtype, count, override_order)
        if len(values) != count:
            raise ValueError(f"it ends before the {count} values that should be at {offset}")
        return values


def open_gguf(path: Path) -> tuple[ModelConfig, dict[str, StoredTensor]]:
    """The file's configuration and all its tensors, none of them read yet."""
    try:
        reader = MappedFile(path)
        stored = {tensor.name: tensor for tensor in reader.tensors}
        values = {
            name: field.contents()
            for name, field in reader.fields.items()
            if not name.startswith("tokenizer.")  # long lists, and nothing of ours
        }
    # The reader checks little: damage shows as whatever the next operation raises.
    except (ValueError, LookupError, OverflowError, RecursionError, OSError) as error:
        raise CorruptWeights(f"{path} is no intact GGUF file: {error}.") from error
    settings = Settings(values, str(path))
    architecture = settings.text("general.architecture")
    config = _parse_config(settings, architecture, stored)
    _check_apart(path, reader.tensors)
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in stored.items():
        shape = tuple(int(size) for size in reversed(tensor.shape))
        heads = _interleaved_heads(config, architecture, name)
        hf_name = _hf_name(name)
        if hf_name in tensors:
            raise CorruptWeights(f"{path} holds {hf_name} twice.")
        tensors[hf_name] = StoredTensor(shape, path, _reader(path, tensor, heads))
    return config, tensors


def _check_apart(path: Path, tensors: list[ReaderTensor]) -> None:
    """Refuse tensors that share bytes: one of them has another's values."""
    end = 0
    for tensor in sorted(tensors, key=lambda each: each.data_offset):
        if tensor.data_offset < end:
            raise CorruptWeights(f"{tensor.name} in {path} begins inside of another tensor.")
        end = tensor.data_offset + tensor.n_bytes


def _parse_config(
    settings: Settings, architecture: str, stored: dict[str, ReaderTensor]
) -> ModelConfig:
    if architecture not in ARCHITECTURES:
        raise UnsupportedModel(
            f"The architecture {architecture} in {settings.origin} is not supported; "
            f"supported are {', '.join(ARCHITECTURES)}."
        )
    of = f"{architecture}."
    _refuse_unimplemented(settings, of, stored)
    hidden_size = settings.integer(of + "embedding_length", most=SIZE_MAX)
    heads = settings.integer(of + "attention.head_count", most=HEADS_MAX)
    head_dim = settings.integer(
        of + "attention.key_length", most=HEAD_DIM_MAX, default=max(1, hidden_size // heads)
    )
    if settings.integer(of + "rope.dimension_count", most=SIZE_MAX, default=head_dim) != head_dim:
        raise UnsupportedModel(f"Partial rotary embeddings are not supported ({settings.origin}).")
    return ModelConfig(
        vocab_size=_vocab_size(settings, of, stored),
        hidden_size=hidden_size,
        intermediate_size=settings.integer(of + "feed_forward_length", most=SIZE_MAX),
        layers=settings.integer(of + "block_count", most=LAYERS_MAX),
        heads=heads,
        kv_heads=settings.integer(of + "attention.head_count_kv", most=HEADS_MAX, default=heads),
        head_dim=head_dim,
        context_tokens_max=settings.integer(of + "context_length", most=CONTEXT_MAX),
        norm_eps=settings.number(of + "attention.layer_norm_rms_epsilon", most=1.0),
        rope=_rope(settings, of),
        tied_embeddings="output.weight" not in stored,
        qkv_bias=architecture == "qwen2",
        qk_norm=architecture == "qwen3",
    )


def _refuse_unimplemented(settings: Settings, of: str, stored: dict[str, ReaderTensor]) -> None:
    if settings.has(of + "attention.sliding_window"):
        raise UnsupportedModel(f"Sliding-window attention is not supported ({settings.origin}).")
    if "rope_freqs.weight" in stored:
        raise UnsupportedModel(
            f"Rotary scaling by rope_freqs.weight is not supported ({settings.origin}); "
            "use the model's safetensors."
        )


def _vocab_size(settings: Settings, of: str, stored: dict[str, ReaderTensor]) -> int:
    embedding = stored.get("token_embd.weight")
    rows = int(embedding.shape[-1]) if embedding is not None and len(embedding.shape) else None
    return settings.integer(of + "vocab_size", most=VOCAB_MAX, default=rows)


def _rope(settings: Settings, of: str) -> RopeConfig:
    theta = settings.number(of + "rope.freq_base", most=ROPE_MAX, default=10000.0)
    kind = settings.text(of + "rope.scaling.type", default="none")
    if kind == "none":
        return RopeConfig(theta)
    if kind != "linear":
        raise UnsupportedModel(f"The rotary scaling {kind!r} is not supported ({settings.origin}).")
    factor = settings.number(of + "rope.scaling.factor", most=ROPE_MAX)
    return RopeConfig(theta, LinearScaling(factor))


def _hf_name(name: str) -> str:
    """Hugging Face's name of a tensor; a name of no known kind stays, to be refused by it."""
    if name in GLOBAL_NAMES:
        return GLOBAL_NAMES[name]
    match name.split("."):
        case ["blk", layer, part, kind] if LAYER.fullmatch(layer) and part in LAYER_NAMES:
            return f"{layer_prefix(int(layer))}{LAYER_NAMES[part]}.{kind}"
    return name


def _interleaved_heads(config: ModelConfig, architecture: str, name: str) -> int | None:
    """Number of heads in a tensor whose heads are stored interleaved."""
    if architecture != "llama":
        return None
    if name.endswith(".attn_q.weight"):
        return config.heads
    return config.kv_heads if name.endswith(".attn_k.weight") else None


def _reader(path: Path, tensor: ReaderTensor, heads: int | None) -> Callable[[], torch.Tensor]:
    def read() -> torch.Tensor:
        try:
            values: FloatArray = dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError:
            raise UnsupportedModel(
                f"{tensor.name} in {path} is quantised as {tensor.tensor_type.name}, "
                "which the gguf library cannot expand."
            ) from None
        values = values.astype(np.float32, copy=False)
        if heads is not None:
            values = _separate_halves(values, heads)
        return torch.from_numpy(np.array(values, order="C"))

    return read


def _separate_halves(values: FloatArray, heads: int) -> FloatArray:
    """From pairs (0, half), (1, half + 1), ... within each head to first half, second half."""
    rows, width = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, width)
    return pairs.swapaxes(1, 2).reshape(rows, width)
