"""Attention of decodes that share a prefix: together, each row alone, and without sharing.

Four times of the same step's attention over all layers. `shared` is what the
engine does. `apart` reads the same blocks row by row: what caches save of it
is saved already. `copies` gives each row blocks of its own, as an engine that
cannot share must. `torch` is the reference, which gathers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from replicas.bench.machine import clock_ns
from replicas.engine.plan import BlockId, Row
from replicas.model.kernels.native_attention import NativeAttention
from replicas.model.kernels.plain import TorchKernels
from replicas.model.kernels.seam import ModelStep
from replicas.model.kv_cache import KvCache
from replicas.model.loading import LoadedModel
from replicas.model.rope import Rope

BLOCK_SIZE = 16
ROUNDS = 5  # each takes every way once, so that they meet the same disturbances


@dataclass(frozen=True, slots=True)
class Sharing:
    """Decodes that begin alike."""

    rows: int
    shared_tokens: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.rows} rows sharing {self.shared_tokens} of {self.tokens} tokens"


@dataclass(frozen=True, slots=True)
class CascadeFigures:
    """The best time of each way. Without native kernels all of them are torch's."""

    sharing: Sharing
    shared_ms: float
    apart_ms: float
    copies_ms: float
    torch_ms: float


@torch.inference_mode()
def measure_cascade(model: LoadedModel, sharing: Sharing) -> CascadeFigures:
    """Attention alone, on random queries, keys and values."""
    config = model.config
    blocks_total = sharing.rows * -(-sharing.tokens // BLOCK_SIZE)
    cache = KvCache(
        config,
        blocks_total=blocks_total,
        block_size=BLOCK_SIZE,
        device=model.device,
        dtype=model.dtype,
    )
    cache.pool.normal_()
    common, separate = rows_of(sharing, shares=True), rows_of(sharing, shares=False)
    plain = TorchKernels(config, device=model.device, dtype=model.dtype).attention(cache)
    attention = model.kernels.attention(cache)
    alone = (
        attention.lay_out(common, sharing_rows=sharing.rows + 1)
        if isinstance(attention, NativeAttention)
        else attention.lay_out(common)
    )
    best = _best_ms(
        model,
        [
            (attention.lay_out(common), model.kernels.dtype),
            (alone, model.kernels.dtype),
            (attention.lay_out(separate), model.kernels.dtype),
            (plain.lay_out(common), model.dtype),
        ],
    )
    return CascadeFigures(sharing, *best)


def rows_of(sharing: Sharing, *, shares: bool) -> list[Row]:
    """One decode per row, on the shared blocks or on copies of them."""
    width = -(-sharing.tokens // BLOCK_SIZE)
    common = sharing.shared_tokens // BLOCK_SIZE if shares else 0
    tables = [
        tuple(BlockId(n if n < common else row * width + n) for n in range(width))
        for row in range(sharing.rows)
    ]
    return [Row((0,), sharing.tokens - 1, table, ()) for table in tables]


def _best_ms(model: LoadedModel, ways: Sequence[tuple[ModelStep, torch.dtype]]) -> list[float]:
    calls = [_attend_all_layers(model, step, dtype) for step, dtype in ways]
    for call in calls:
        call()
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for n, call in enumerate(calls):
            began_ns = clock_ns()
            call()
            best[n] = min(best[n], (clock_ns() - began_ns) / 1e6)
    return best


def _attend_all_layers(
    model: LoadedModel, step: ModelStep, dtype: torch.dtype
) -> Callable[[], None]:
    config = model.config
    heads = torch.randn(len(step.tokens), config.heads + 2 * config.kv_heads, config.head_dim)
    heads = heads.to(dtype)
    # At position 0 nothing turns: the same heads serve all layers.
    rotation = Rope(config, device=model.device, dtype=dtype).rotation(torch.zeros(len(heads)))

    def attend() -> None:
        for layer in range(config.layers):
            step.attend(layer, heads, rotation, None)

    return attend
