"""Paged attention by the C++ kernels: a step as visits of tokens to tiles of keys.

A row's tokens visit the tiles of its block table, from the first to the one of
its last token; each token sees the slots up to its own position. Decodes whose
tables begin with the same blocks visit the tiles in these together, so that
shared keys and values are fetched once for all of them, and go on alone. A
tile gives a row the same bits either way, so sharing needs no tolerance.

Tokens lie row by row, sharing rows side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from replicas.engine.plan import Row
from replicas.model.config import ModelConfig
from replicas.model.kernels.library import Library
from replicas.model.kv_cache import KvCache

# Measured on decodes of 2 to 32 rows (replicas/bench/cascade.py): from here on sharing gains a
# tenth of attention over reading the same blocks row by row; with two rows it gains nothing.
SHARING_ROWS = 4
SHARING_TOKENS = 256

Ids = npt.NDArray[np.int64]
Tables = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class NativeStep:
    """A step laid out. Attends by the attention that laid it out."""

    tokens: Tensor
    positions: Tensor
    last: Tensor
    slots: Tensor
    tables: Tensor  # int32 [sequences, blocks]: padded with block 0
    visits: Tensor  # int32 [visits, 5]: as cpu.cpp says
    attention: NativeAttention

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Store the tokens' keys and values, then attend."""
        return self.attention.attend(layer, queries, keys, values, self)


class NativeAttention:
    """Attends over one KV cache. Keeps no state between calls."""

    def __init__(self, library: Library, config: ModelConfig, cache: KvCache) -> None:
        self._attend = library.attend[cache.pool.dtype]
        self._tile = library.tile
        self._config = config
        self._cache = cache
        self._scale = config.head_dim**-0.5
        self._layers = [cache.layer(layer) for layer in range(config.layers)]

    def lay_out(self, rows: Sequence[Row], *, sharing_rows: int = SHARING_ROWS) -> NativeStep:
        """The rows as visits; from so many decodes on, those with a common beginning share."""
        block_size = self._cache.block_size
        groups = list(_groups(rows, SHARING_TOKENS // block_size, sharing_rows))
        order = [n for group in groups for n in group]
        lined_up = [rows[n] for n in order]
        counts = np.array([len(row.tokens) for row in lined_up])
        stops = np.cumsum(counts)
        starts = np.array([row.start for row in lined_up])
        tables = _tables(lined_up, starts + counts, block_size)
        owners = np.repeat(np.arange(len(rows)), counts)
        positions = np.arange(stops[-1]) + np.repeat(starts - (stops - counts), counts)
        blocks = tables[owners, positions // block_size]
        stop_of = dict(zip(order, stops.tolist(), strict=True))
        last = [stop_of[n] - 1 for n, row in enumerate(rows) if row.samples]
        tiles = -(-(starts + counts) // self._tile)
        sizes = [len(group) for group in groups]
        visits = _visits(sizes, stops, tiles, tables, tile=self._tile, block_size=block_size)
        return NativeStep(
            tokens=torch.tensor([token for row in lined_up for token in row.tokens]),
            positions=torch.from_numpy(positions),
            last=torch.tensor(last, dtype=torch.int64),
            slots=torch.from_numpy(blocks.astype(np.int64) * block_size + positions % block_size),
            tables=torch.from_numpy(tables),
            visits=torch.tensor(visits, dtype=torch.int32),
            attention=self,
        )

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, step: NativeStep
    ) -> Tensor:
        """Attention of one layer; the three lie in one tensor, so they share a stride."""
        config = self._config
        tokens = queries.shape[0]
        for part in (queries, keys, values):
            assert part.stride() == (queries.stride(0), config.head_dim, 1), "a foreign layout"
        key_pool, value_pool = self._layers[layer]
        out = torch.empty((tokens, config.heads, config.head_dim))
        state = torch.empty((2, tokens, config.heads))
        self._attend(
            queries.data_ptr(),
            keys.data_ptr(),
            values.data_ptr(),
            queries.stride(0),
            key_pool.data_ptr(),
            value_pool.data_ptr(),
            step.slots.data_ptr(),
            step.positions.data_ptr(),
            step.tables.data_ptr(),
            step.visits.data_ptr(),
            out.data_ptr(),
            state.data_ptr(),
            tokens,
            step.tables.shape[1],
            step.visits.shape[0],
            self._cache.block_size,
            config.heads,
            config.kv_heads,
            config.head_dim,
            self._scale,
        )
        return out


def _groups(rows: Sequence[Row], blocks: int, sharing_rows: int) -> Iterator[list[int]]:
    """Every row once: decodes that begin with the same blocks together, if they are enough."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for n, row in enumerate(rows):
        if len(row.tokens) == 1 and len(row.block_table) > blocks:
            alike.setdefault(row.block_table[:blocks], []).append(n)
    sharing = [group for group in alike.values() if len(group) >= sharing_rows]
    yield from sharing
    shared = {n for group in sharing for n in group}
    yield from ([n] for n in range(len(rows)) if n not in shared)


def _visits(
    sizes: Sequence[int], stops: Ids, tiles: Ids, tables: Tables, *, tile: int, block_size: int
) -> list[tuple[int, int, int, int, int]]:
    """The visits of each group: shared tiles together, then each row the rest of its own."""
    visits = []
    first = 0
    for size in sizes:
        rows = range(first, first + size)
        begins = [int(stops[n - 1]) if n else 0 for n in rows]
        shared = 0
        if size > 1:
            group = tables[first : first + size]
            differs = np.flatnonzero((group != group[0]).any(axis=0))
            blocks = int(differs[0]) if differs.size else group.shape[1]
            shared = min(blocks * block_size // tile, int(tiles[first : first + size].min()))
            if shared:
                visits.append((begins[0], int(stops[rows[-1]]), first, 0, shared))
        visits += [
            (begin, int(stops[n]), n, shared, int(tiles[n]))
            for begin, n in zip(begins, rows, strict=True)
            if shared < tiles[n]
        ]
        first += size
    return visits


def _tables(rows: Sequence[Row], lengths: Ids, block_size: int) -> Tables:
    """The block tables as far as they are needed; beyond lie blocks for tokens to come."""
    needed = -(-lengths // block_size)
    tables = np.zeros((len(rows), int(needed.max())), dtype=np.int32)
    for line, row, count in zip(tables, rows, needed, strict=True):
        assert count <= len(row.block_table), "a row writes past its block table"
        line[:count] = row.block_table[:count]
    return tables
