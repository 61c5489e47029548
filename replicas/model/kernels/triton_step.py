"""Paged attention by the Triton kernels: a step as programs over splits of tables.

The same visits as the C++ kernels make, in tiles as long as a split. Tokens
that fill no product are split, so that a few queries over a long context keep
more than one multiprocessor busy; a stretch of prefill takes all its splits in
one program and merges as it goes. Neither choice changes a bit
(triton_attention.py says why), and so sharing needs no tolerance here either.

All that the device must know of a step travels in one copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import triton
from torch import Tensor
from triton import language as tl

from replicas.engine.plan import Row
from replicas.model.config import ModelConfig
from replicas.model.kernels.seam import Norms
from replicas.model.kernels.triton_attention import attend_kernel, merge_kernel
from replicas.model.kernels.triton_rows import turn_kernel
from replicas.model.kernels.visits import SHARING_ROWS, Ids, Visit, Visits, lay_out_visits
from replicas.model.kv_cache import KvCache
from replicas.model.rope import Rotation

# Fixed, never fitted to a batch: results must not depend on company. No figure of a card yet.
SPLIT = 256  # slots: a context of 700 gives each row and key-value head three programs
TILE = 64  # slots that a program takes at once
ROWS = 64  # of a product: what a Hopper's matrix unit takes at least
FACTORS = {
    torch.float32: tl.float32,
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
}


@dataclass(frozen=True, slots=True)
class TritonStep:
    """A step laid out. Attends by the attention that laid it out."""

    tokens: Tensor
    positions: Tensor
    last: Tensor
    slots: Tensor
    tables: Tensor  # [sequences, blocks]: padded with block 0
    whole: Tensor  # [programs, 5]: visits of all splits of their tokens, as attend_kernel says
    split: Tensor  # [programs, 5]: visits of one split
    split_tokens: Tensor
    parts: Tensor  # [tokens]: where the results of a split token begin
    parts_total: int
    attention: TritonAttention

    def attend(self, layer: int, heads: Tensor, rotation: Rotation, norms: Norms | None) -> Tensor:
        """Turn and store in one kernel, then attend."""
        return self.attention.attend(layer, heads, rotation, norms, self)


class TritonAttention:
    """Attends over one KV cache. Keeps no state between calls."""

    def __init__(self, config: ModelConfig, cache: KvCache, *, interpreted: bool) -> None:
        self._config = config
        self._cache = cache
        self._width = max(16, triton.next_power_of_2(config.head_dim))
        self._factor = factor_of(cache.pool.dtype, interpreted=interpreted)
        self._tokens_most = ROWS // config.group  # of a program
        self._scale = config.head_dim**-0.5 * math.log2(math.e)

    def lay_out(self, rows: Sequence[Row], *, sharing_rows: int = SHARING_ROWS) -> TritonStep:
        """The rows as programs; from so many decodes on, those with a common beginning share."""
        laid_out = lay_out_visits(
            rows, block_size=self._cache.block_size, tile=SPLIT, sharing_rows=sharing_rows
        )
        whole, split, splits = self._programs(laid_out)
        tokens, positions, last, slots, tables, *programs, parts = on_device(
            self._cache.pool.device,
            laid_out.tokens,
            laid_out.positions,
            laid_out.last,
            laid_out.slots,
            laid_out.tables,
            whole,
            split,
            np.flatnonzero(splits),
            np.cumsum(splits) - splits,
        )
        return TritonStep(
            tokens=tokens,
            positions=positions,
            last=last,
            slots=slots,
            tables=tables,
            whole=programs[0],
            split=programs[1],
            split_tokens=programs[2],
            parts=parts,
            parts_total=int(splits.sum()),
            attention=self,
        )

    def attend(
        self,
        layer: int,
        heads: Tensor,
        rotation: Rotation,
        norms: Norms | None,
        step: TritonStep,
    ) -> Tensor:
        """Attention of one layer."""
        config = self._config
        key_pool, value_pool = self._cache.layer(layer)
        self._turn(heads, rotation, norms, key_pool, value_pool, step)
        queries = heads[:, : config.heads]
        out = queries.new_empty((len(heads), config.heads, config.head_dim))
        parts = _Parts(
            values=out.new_empty((step.parts_total, *out.shape[1:]), dtype=torch.float32),
            tops=out.new_empty((step.parts_total, config.heads), dtype=torch.float32),
            sums=out.new_empty((step.parts_total, config.heads), dtype=torch.float32),
        )
        for visits, is_whole in ((step.split, False), (step.whole, True)):
            if len(visits):
                self._visit(visits, queries, key_pool, value_pool, parts, out, step, is_whole)
        if step.parts_total:
            merge_kernel[(len(step.split_tokens), config.heads)](
                parts.values,
                parts.tops,
                parts.sums,
                step.parts,
                step.positions,
                step.split_tokens,
                out,
                HEADS=config.heads,
                HEAD_DIM=config.head_dim,
                WIDTH=self._width,
                SPLIT=SPLIT,
                enable_fp_fusion=False,
            )
        return out

    def _turn(
        self,
        heads: Tensor,
        rotation: Rotation,
        norms: Norms | None,
        key_pool: Tensor,
        value_pool: Tensor,
        step: TritonStep,
    ) -> None:
        """Queries in place, keys and values to their slots."""
        config, half = self._config, self._config.head_dim // 2
        assert heads.is_contiguous() and heads.dtype == key_pool.dtype, "a foreign layout"
        # Without norms nothing is read from where they would be.
        query_norm, key_norm = norms if norms is not None else (heads, heads)
        turn_kernel[(len(heads),)](
            heads,
            heads.stride(0),
            rotation.cosine,
            rotation.sine,
            query_norm,
            key_norm,
            config.norm_eps,
            key_pool,
            value_pool,
            step.slots,
            QUERIES=config.heads,
            KEYS=config.kv_heads,
            HALF=half,
            HEADS=triton.next_power_of_2(heads.shape[1]),
            WIDTH=triton.next_power_of_2(half),
            NORMED=norms is not None,
        )

    def _visit(
        self,
        visits: Tensor,
        queries: Tensor,
        key_pool: Tensor,
        value_pool: Tensor,
        parts: _Parts,
        out: Tensor,
        step: TritonStep,
        is_whole: bool,
    ) -> None:
        config = self._config
        attend_kernel[(len(visits), config.kv_heads)](
            queries,
            queries.stride(0),
            key_pool,
            value_pool,
            step.positions,
            step.tables,
            step.tables.shape[1],
            visits,
            step.parts,
            parts.values,
            parts.tops,
            parts.sums,
            out,
            self._scale,
            GROUP=config.group,
            KV_HEADS=config.kv_heads,
            HEAD_DIM=config.head_dim,
            WIDTH=self._width,
            BLOCK_SIZE=self._cache.block_size,
            ROWS=ROWS,
            TILE=TILE,
            SPLIT=SPLIT,
            FACTOR=self._factor,
            WHOLE=is_whole,
            enable_fp_fusion=False,
        )

    def _programs(self, laid_out: Visits) -> tuple[Ids, Ids, Ids]:
        """What programs visit, whole and split, and how many splits are to be merged per token."""
        whole: list[Visit] = []
        split: list[Visit] = []
        splits = np.zeros_like(laid_out.tokens)
        for visit in laid_out.visits:
            own = slice(visit.begin, visit.stop)
            if self._fills_a_product(visit, laid_out.owners):
                whole += _stretches(visit, self._tokens_most, laid_out.positions)
            else:
                split += _pieces(visit, self._tokens_most)
                splits[own] = laid_out.positions[own] // SPLIT + 1
        return _array_of(whole), _array_of(split), splits

    def _fills_a_product(self, visit: Visit, owners: Ids) -> bool:
        """Whether these are a row's own tokens, more than a program takes at once, and all of
        its splits: what others have visited for it is merged with the rest."""
        is_one_row = owners[visit.begin] == owners[visit.stop - 1]
        is_all = bool(is_one_row) and visit.first == 0
        return is_all and visit.stop - visit.begin > self._tokens_most


@dataclass(frozen=True, slots=True)
class _Parts:
    """What attention of single splits found, until it is merged."""

    values: Tensor  # [parts, heads, head_dim]
    tops: Tensor  # [parts, heads]
    sums: Tensor


def factor_of(dtype: torch.dtype, *, interpreted: bool) -> tl.dtype:
    """In which type values of a type are multiplied."""
    # The interpreter multiplies bfloat16 as if its bits were those of whole numbers.
    return tl.float32 if interpreted else FACTORS[dtype]


def on_device(device: torch.device, *arrays: npt.NDArray[np.integer]) -> list[Tensor]:
    """The arrays as int64 tensors that lie one behind the other: each copy would cost a wait."""
    flat = np.concatenate([array.reshape(-1).astype(np.int64, copy=False) for array in arrays])
    pieces = torch.split(torch.from_numpy(flat).to(device), [array.size for array in arrays])
    return [piece.view(array.shape) for piece, array in zip(pieces, arrays, strict=True)]


def _stretches(visit: Visit, tokens_most: int, positions: Ids) -> Iterator[Visit]:
    """All splits for so many tokens at a time, to the one of the last of these."""
    for begin in range(visit.begin, visit.stop, tokens_most):
        stop = min(begin + tokens_most, visit.stop)
        yield visit._replace(begin=begin, stop=stop, last=int(positions[stop - 1]) // SPLIT + 1)


def _pieces(visit: Visit, tokens_most: int) -> Iterator[Visit]:
    """Each split by itself for so many tokens at a time."""
    for split in range(visit.first, visit.last):
        for begin in range(visit.begin, visit.stop, tokens_most):
            stop = min(begin + tokens_most, visit.stop)
            yield visit._replace(begin=begin, stop=stop, first=split, last=split + 1)


def _array_of(visits: list[Visit]) -> Ids:
    return np.array(visits, dtype=np.int64).reshape(-1, len(Visit._fields))
