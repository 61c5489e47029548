"""The shape of a decoder of the Llama family, whatever file described it.

Four families are one computation with two switches: Llama and Mistral have
neither, Qwen2 adds a bias to the query, key and value projections, Qwen3 a
norm to each query and key head. A configuration that exists is consistent:
the constructor refuses head counts that do not divide. What the engine does
not implement is refused by name where the file is read (hf_config.py,
gguf_file.py), never approximated.
"""

from __future__ import annotations

from dataclasses import dataclass

from replicas.model.errors import CorruptConfig

# Bounds for numbers read from files: far above any model that exists, far below
# what would exhaust memory before a sentence could be said about it.
SIZE_MAX = 1 << 20  # hidden and intermediate sizes
LAYERS_MAX = 1024
HEADS_MAX = 4096
HEAD_DIM_MAX = 1024
VOCAB_MAX = 1 << 24
CONTEXT_MAX = 1 << 27
ROPE_MAX = 1e15  # base and factors


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """Positions are divided by `factor`."""

    factor: float


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Long wavelengths are stretched by `factor`, short ones kept, those between blended."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    context_original: int


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Base and scaling of the rotary position embedding."""

    theta: float
    scaling: LinearScaling | Llama3Scaling | None = None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything needed to allocate, load and run the model."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context_tokens_max: int
    norm_eps: float
    rope: RopeConfig
    tied_embeddings: bool
    qkv_bias: bool = False
    qk_norm: bool = False

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise CorruptConfig(
                f"{self.heads} attention heads cannot share {self.kv_heads} key-value heads evenly."
            )
        if self.head_dim % 2:
            raise CorruptConfig(f"Rotary embeddings need an even head size, not {self.head_dim}.")

    @property
    def group(self) -> int:
        """Query heads that share one key-value head."""
        return self.heads // self.kv_heads

    @property
    def query_size(self) -> int:
        """Width of all query heads of a token together."""
        return self.heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key heads of a token together; of the values, likewise."""
        return self.kv_heads * self.head_dim
