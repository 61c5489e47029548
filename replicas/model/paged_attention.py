"""Attention over KV that lies in blocks, in plain torch: the reference on every device.

For each layer the step's keys and values go to their slots first; then each
tile gathers its blocks into a scratch buffer and attends. The query heads that
share a key-value head are packed as further queries, so each gathered key is
read once for all of them.

Exactness: the output for a token is the same to rounding whether its row is
alone or not, its prompt came whole or in chunks, and its prefix was computed
or found. The last bits may differ, because the CPU's matrix kernels order
their sums by the number of queries and of slots; a kernel with fixed splits
could promise them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from replicas.engine.plan import Row
from replicas.model.batch import StepBatch, Tile, build_batch
from replicas.model.config import ModelConfig
from replicas.model.kernels.seam import Norms, Turn
from replicas.model.kv_cache import KvCache
from replicas.model.rope import Rotation


@dataclass(frozen=True, slots=True)
class TiledStep:
    """A step laid out in tiles."""

    batch: StepBatch
    attention: PagedAttention

    @property
    def tokens(self) -> Tensor:
        return self.batch.tokens

    @property
    def positions(self) -> Tensor:
        return self.batch.positions

    @property
    def last(self) -> Tensor:
        return self.batch.last

    def attend(self, layer: int, heads: Tensor, rotation: Rotation, norms: Norms | None) -> Tensor:
        """Turn, store, attend."""
        queries, keys, values = self.attention.turn(heads, rotation, norms)
        return self.attention.attend(layer, queries, keys, values, self.batch)


class PagedAttention:
    """Attends over one KV cache. Keeps scratch for the largest tile seen, no other state."""

    def __init__(self, config: ModelConfig, cache: KvCache, turn: Turn) -> None:
        self.turn = turn
        self._config = config
        self._cache = cache
        self._keys = cache.pool.new_empty((0, *cache.pool.shape[3:]))
        self._values = torch.empty_like(self._keys)

    def lay_out(self, rows: Sequence[Row]) -> TiledStep:
        """The rows in tiles."""
        batch = build_batch(
            rows,
            block_size=self._cache.block_size,
            group=self._config.group,
            device=self._cache.pool.device,
            dtype=self._cache.pool.dtype,
        )
        return TiledStep(batch, self)

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, batch: StepBatch
    ) -> Tensor:
        """Store the tokens' keys and values, then attend; all are [tokens, heads, head_dim]."""
        key_pool, value_pool = self._cache.layer(layer)
        key_pool.flatten(0, 1).index_copy_(0, batch.slots, keys)
        value_pool.flatten(0, 1).index_copy_(0, batch.slots, values)
        attended = torch.empty_like(queries, memory_format=torch.contiguous_format)
        for tile in batch.tiles:
            self._reserve(tile.blocks.numel())
            tile_keys = _gather(key_pool, tile, self._keys)
            tile_values = _gather(value_pool, tile, self._values)
            attended[tile.tokens] = self._attend_tile(
                queries[tile.tokens], tile_keys, tile_values, tile
            )
        return attended

    def _attend_tile(self, queries: Tensor, keys: Tensor, values: Tensor, tile: Tile) -> Tensor:
        config = self._config
        tokens = queries.shape[0] // tile.rows
        by_head = queries.view(tile.rows, tokens, config.kv_heads, config.group, config.head_dim)
        packed = by_head.transpose(1, 2).reshape(tile.rows, config.kv_heads, -1, config.head_dim)
        attended = functional.scaled_dot_product_attention(
            packed, keys, values, attn_mask=tile.mask
        )
        unpacked = attended.view(tile.rows, config.kv_heads, tokens, config.group, config.head_dim)
        return unpacked.transpose(1, 2).reshape(queries.shape)

    def _reserve(self, blocks: int) -> None:
        if self._keys.shape[0] < blocks:
            self._keys = self._keys.new_empty((blocks, *self._keys.shape[1:]))
            self._values = torch.empty_like(self._keys)


def _gather(pool: Tensor, tile: Tile, scratch: Tensor) -> Tensor:
    """The tile's blocks as [rows, kv_heads, slots, head_dim], lying in `scratch`."""
    gathered = scratch[: tile.blocks.numel()]
    torch.index_select(pool, 0, tile.blocks, out=gathered)
    return gathered.view(tile.rows, -1, *pool.shape[2:]).transpose(1, 2)
