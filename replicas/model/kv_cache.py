"""The KV of all blocks of a replica: one tensor.

`pool[layer, 0]` holds keys and `pool[layer, 1]` values, each as [blocks,
block_size, kv_heads, head_dim]. A token's slot, counted over the pool as
`block * block_size + offset`, is the same in every layer; a block of a layer
is one contiguous run. Which block belongs to whom is the engine's knowledge,
not ours.

Invariant: every value is finite. Slots past the end of a sequence are masked
in attention, which multiplies them by zero; zero times NaN would still be NaN.
So the pool starts as zeros, and what is written comes from checked steps.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from replicas.engine.plan import BlockCopy
from replicas.model.config import ModelConfig


class KvCache:
    """Owner of the pool. Block ids run from 0 to `blocks_total - 1`."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        blocks_total: int,
        block_size: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.block_size = block_size
        shape = (config.layers, 2, blocks_total, block_size, config.kv_heads, config.head_dim)
        self.pool = torch.zeros(shape, device=device, dtype=dtype)

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, as views: [blocks, block_size, kv_heads, head_dim]."""
        keys, values = self.pool[layer].unbind()
        return keys, values

    def copy(self, copies: Iterable[BlockCopy]) -> None:
        """Copy leading slots from block to block, in all layers, in the order given."""
        for each in copies:
            source = self.pool[:, :, each.source, : each.slots]
            self.pool[:, :, each.target, : each.slots] = source


def block_bytes(config: ModelConfig, *, block_size: int, dtype: torch.dtype) -> int:
    """Memory of one block over all layers, keys and values."""
    return 2 * config.layers * block_size * config.kv_size * dtype.itemsize


def blocks_that_fit(
    config: ModelConfig, *, bytes_available: int, block_size: int, dtype: torch.dtype
) -> int:
    """The most blocks that a pool of this many bytes can hold; 0 if not even one."""
    return bytes_available // block_bytes(config, block_size=block_size, dtype=dtype)
