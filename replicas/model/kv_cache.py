"""The KV of all blocks of a replica: one tensor.

`pool[layer, 0]` holds keys and `pool[layer, 1]` values, each as [blocks,
block_size, kv_heads, head_dim]. A token's slot, counted over the pool as
`block * block_size + offset`, is the same in every layer; a block of a layer
is one contiguous run. Which block belongs to whom is the engine's knowledge,
not ours.

Outside the pool a block is its *payload*: its bytes as [layers, 2, block_size,
kv_heads, head_dim], the same for every replica of one model card.

Invariant: every value is finite. Slots past the end of a sequence are masked
in attention, which multiplies them by zero; zero times NaN would still be NaN.
So the pool starts as zeros, and what is written comes from checked steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from replicas.engine.plan import BlockCopy, BlockId
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
        self.payload_bytes = block_bytes(config, block_size=block_size, dtype=dtype)
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

    def read(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]:
        """The payload of each block, in one copy from the device."""
        if not blocks:
            return ()
        whole = self.pool[:, :, list(blocks)].movedim(2, 0).contiguous().cpu()
        # As bytes before numpy, which has no bfloat16.
        rows = whole.view(len(blocks), -1).view(torch.uint8).numpy()
        return tuple(row.tobytes() for row in rows)

    def write(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
        """Put payloads into blocks, all or none.

        ValueError when one has another size than a block, or is not finite:
        it may come from elsewhere, and the invariant above is ours.
        """
        if len(blocks) != len(payloads):
            raise ValueError(f"{len(payloads)} payloads for {len(blocks)} blocks.")
        for payload in payloads:
            if len(payload) != self.payload_bytes:
                raise ValueError(
                    f"A block has {self.payload_bytes} bytes here, the payload {len(payload)}."
                )
        if not blocks:
            return
        rows = torch.frombuffer(bytearray(b"".join(payloads)), dtype=torch.uint8)
        layers, sides, _, *rest = self.pool.shape
        whole = rows.view(self.pool.dtype).view(len(blocks), layers, sides, *rest)
        if not bool(torch.isfinite(whole).all()):
            raise ValueError("A payload holds values that are not finite.")
        self.pool[:, :, list(blocks)] = whole.movedim(0, 2).to(self.pool.device)


def block_bytes(config: ModelConfig, *, block_size: int, dtype: torch.dtype) -> int:
    """Memory of one block over all layers, keys and values."""
    return 2 * config.layers * block_size * config.kv_size * dtype.itemsize


def blocks_that_fit(
    config: ModelConfig, *, bytes_available: int, block_size: int, dtype: torch.dtype
) -> int:
    """The most blocks that a pool of this many bytes can hold; 0 if not even one."""
    return bytes_available // block_bytes(config, block_size=block_size, dtype=dtype)
