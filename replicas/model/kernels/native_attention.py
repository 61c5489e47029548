"""Paged attention by the C++ kernels: a step as visits of tokens to tiles of keys.

A tile gives a row the same bits whoever visits it along with the row, so
sharing needs no tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from replicas.engine.plan import Row
from replicas.model.config import ModelConfig
from replicas.model.kernels.library import Library
from replicas.model.kernels.seam import Norms, Turn
from replicas.model.kernels.visits import SHARING_ROWS, lay_out_visits
from replicas.model.kv_cache import KvCache
from replicas.model.rope import Rotation


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

    def attend(self, layer: int, heads: Tensor, rotation: Rotation, norms: Norms | None) -> Tensor:
        """Turn, store, attend."""
        queries, keys, values = self.attention.turn(heads, rotation, norms)
        return self.attention.attend(layer, queries, keys, values, self)


class NativeAttention:
    """Attends over one KV cache. Keeps no state between calls."""

    def __init__(self, library: Library, config: ModelConfig, cache: KvCache, turn: Turn) -> None:
        self.turn = turn
        self._attend = library.attend[cache.pool.dtype]
        self._tile = library.tile
        self._config = config
        self._cache = cache
        self._scale = config.head_dim**-0.5
        self._layers = [cache.layer(layer) for layer in range(config.layers)]

    def lay_out(self, rows: Sequence[Row], *, sharing_rows: int = SHARING_ROWS) -> NativeStep:
        """The rows as visits; from so many decodes on, those with a common beginning share."""
        laid_out = lay_out_visits(
            rows, block_size=self._cache.block_size, tile=self._tile, sharing_rows=sharing_rows
        )
        return NativeStep(
            tokens=torch.from_numpy(laid_out.tokens),
            positions=torch.from_numpy(laid_out.positions),
            last=torch.from_numpy(laid_out.last),
            slots=torch.from_numpy(laid_out.slots),
            tables=torch.from_numpy(laid_out.tables),
            visits=torch.tensor(laid_out.visits, dtype=torch.int32),
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
