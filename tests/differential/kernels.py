"""The native kernels next to torch's, on random inputs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from protos.messages import SamplingParams
from replicas.engine.plan import BlockId, Row, Sample
from replicas.model.config import ModelConfig, RopeConfig
from replicas.model.kernels.compiler import NotBuilt, built_library
from replicas.model.kernels.library import Library, open_library
from replicas.model.kernels.native import NativeKernels
from replicas.model.kernels.plain import TorchKernels
from replicas.model.kernels.seam import Kernels, Norms
from replicas.model.kv_cache import KvCache
from replicas.model.rope import Rope

CPU = torch.device("cpu")
SAMPLE = Sample(SamplingParams(tokens_max=1), 0, (1,), ())
CONFIG = ModelConfig(
    vocab_size=99,
    hidden_size=72,
    intermediate_size=100,
    layers=2,
    heads=6,
    kv_heads=2,
    head_dim=16,
    context_tokens_max=999,
    norm_eps=1e-5,
    rope=RopeConfig(10000.0),
    tied_embeddings=True,
)


def native_library() -> Library:
    """The kernels of this machine; the test is skipped where they cannot be built."""
    try:
        return open_library(built_library())
    except NotBuilt as error:
        pytest.skip(str(error))


def both(config: ModelConfig) -> tuple[NativeKernels, TorchKernels]:
    """Both kinds, activations in float32."""
    plain = TorchKernels(config, device=CPU, dtype=torch.float32)
    return NativeKernels(native_library(), config), plain


def shaped(heads: int, kv_heads: int, head_dim: int) -> ModelConfig:
    return replace(CONFIG, heads=heads, kv_heads=kv_heads, head_dim=head_dim)


class Scene:
    """A pool full of finite values, and sequences whose blocks are scattered over it."""

    def __init__(self, config: ModelConfig, block_size: int, *, seed: int) -> None:
        self.config = config
        self.block_size = block_size
        self._generator = torch.Generator().manual_seed(seed)
        self._rng = random.Random(seed)
        self._blocks_total = 6000 // block_size
        self._unused = self._rng.sample(range(self._blocks_total), self._blocks_total)
        self.pool = self.draw(config.layers, 2, self._blocks_total, *self._block)

    @property
    def _block(self) -> tuple[int, int, int]:
        return self.block_size, self.config.kv_heads, self.config.head_dim

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    def heads(self, tokens: int) -> Tensor:
        """Queries, keys and values of so many tokens, in one tensor."""
        return self.draw(tokens, self.config.heads + 2 * self.config.kv_heads, self.config.head_dim)

    def row(self, start: int, count: int, *, shared: Sequence[BlockId] = ()) -> Row:
        """A row on blocks of its own, after the shared ones."""
        blocks = -(-(start + count) // self.block_size) - len(shared)
        own = [BlockId(self._unused.pop()) for _ in range(blocks)]
        return Row(tuple(range(count)), start, (*shared, *own), (SAMPLE,))

    def cache(self, dtype: torch.dtype) -> KvCache:
        cache = KvCache(
            self.config,
            blocks_total=self._blocks_total,
            block_size=self.block_size,
            device=CPU,
            dtype=dtype,
        )
        cache.pool.copy_(self.pool)
        return cache


def attend(
    kernels: Kernels,
    config: ModelConfig,
    cache: KvCache,
    rows: Sequence[Row],
    heads: Tensor,
    norms: Norms | None = None,
    *,
    turns: bool = False,
) -> list[Tensor]:
    """Attention of layer 1 for each row; `heads` are those of all tokens in the rows' order.

    They lie as if at position 0, where nothing is turned, unless they turn."""
    step = kernels.attention(cache).lay_out(rows)
    # Where the step has put each token: rows come in any order, the tokens of one in theirs.
    places = token_places(rows, step.tokens)
    laid_out = torch.empty_like(heads)
    laid_out[places] = heads
    rope = Rope(config, device=heads.device, dtype=heads.dtype)
    rotation = rope.rotation(step.positions if turns else torch.zeros_like(step.positions))
    attended = step.attend(1, laid_out, rotation, norms)
    return list(torch.split(attended[places], [len(row.tokens) for row in rows]))


def numbered(rows: Sequence[Row]) -> list[Row]:
    """The rows with token ids that no two tokens of the step share."""
    counts = [len(row.tokens) for row in rows]
    firsts = [sum(counts[:n]) for n in range(len(rows))]
    return [
        replace(row, tokens=tuple(range(first, first + count)))
        for row, first, count in zip(rows, firsts, counts, strict=True)
    ]


def token_places(rows: Sequence[Row], tokens: Tensor) -> Tensor:
    """For each token in the rows' order, its place in the step."""
    place = {token: n for n, token in enumerate(tokens.tolist())}
    return torch.tensor([place[token] for row in rows for token in row.tokens])
