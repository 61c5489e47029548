"""Paged attention by the C++ kernels: a step as visits of tokens to tiles of keys.

Tokens lie in the plan's order. A row's tokens visit the tiles of its own block
table, from the first to the one of its last token; each token sees the slots
up to its own position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from replicas.engine.plan import Row
from replicas.model.config import ModelConfig
from replicas.model.kernels.library import Library
from replicas.model.kv_cache import KvCache


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

    def lay_out(self, rows: Sequence[Row]) -> NativeStep:
        """The rows in their order."""
        block_size = self._cache.block_size
        counts = np.array([len(row.tokens) for row in rows])
        stops = np.cumsum(counts)
        starts = np.array([row.start for row in rows])
        tables = _tables(rows, starts + counts, block_size)
        owners = np.repeat(np.arange(len(rows)), counts)
        positions = np.arange(stops[-1]) + np.repeat(starts - (stops - counts), counts)
        blocks = tables[owners, positions // block_size]
        slots = blocks.astype(np.int64) * block_size + positions % block_size
        tiles = -(-(starts + counts) // self._tile)
        visits = np.stack(
            (stops - counts, stops, np.arange(len(rows)), np.zeros_like(tiles), tiles), axis=1
        )
        sampled = [n for n, row in enumerate(rows) if row.samples]
        return NativeStep(
            tokens=torch.tensor([token for row in rows for token in row.tokens]),
            positions=torch.from_numpy(positions),
            last=torch.from_numpy(stops[sampled] - 1),
            slots=torch.from_numpy(slots),
            tables=torch.from_numpy(tables),
            visits=torch.from_numpy(visits.astype(np.int32)),
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


def _tables(
    rows: Sequence[Row], lengths: npt.NDArray[np.int64], block_size: int
) -> npt.NDArray[np.int32]:
    """The block tables as far as they are needed; beyond lie blocks for tokens to come."""
    needed = -(-lengths // block_size)
    tables = np.zeros((len(rows), int(needed.max())), dtype=np.int32)
    for line, row, count in zip(tables, rows, needed, strict=True):
        assert count <= len(row.block_table), "a row writes past its block table"
        line[:count] = row.block_table[:count]
    return tables
