"""Host memory for the KV of paused sequences: slots of one block each, beside the pool.

A block is moved whole, all layers of it, and never changed: what is loaded are
the bytes that were saved, so the pool stays finite. Beside a GPU the memory is
pinned, and a move is queued behind what the device does already, in the order
of the plans: nobody waits for it but what comes after it on the device. Which
slot holds what is the engine's knowledge, not ours.

What is pinned torch rounds up to a power of two. So slots are allocated by
chunks of a little less than one, and what was asked for is what is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from replicas.engine.plan import BlockId, BlockLoad, BlockSave, HostSlot
from replicas.model.kv_cache import KvCache

CHUNK_BYTES = 1 << 30
TRIES = 3
BLOCKS_TRIED = 4  # enough for a move to take longer than to ask for it


class HostMemory:
    """Owner of the slots, from 0 to `blocks_total - 1`."""

    def __init__(self, cache: KvCache, *, blocks_total: int) -> None:
        layers, sides, _, *rest = cache.pool.shape
        self._pool = cache.pool
        self._slots: list[Tensor] = []
        chunk = max(1, CHUNK_BYTES // cache.payload_bytes)
        for first in range(0, blocks_total, chunk):
            shape = (min(chunk, blocks_total - first), layers, sides, *rest)
            pinned = cache.pool.is_cuda
            self._slots.extend(torch.empty(shape, dtype=cache.pool.dtype, pin_memory=pinned))

    def save(self, saves: Iterable[BlockSave]) -> None:
        """From the pool into slots."""
        for each in saves:
            self._slots[each.slot].copy_(self._pool[:, :, each.block], non_blocking=True)

    def load(self, loads: Iterable[BlockLoad]) -> None:
        """And back, into any blocks."""
        for each in loads:
            self._pool[:, :, each.block].copy_(self._slots[each.slot], non_blocking=True)

    def block_ns(self, clock_ns: Callable[[], int]) -> int:
        """What a block takes out and back, once its memory has been touched: measured.

        The pool stays as it is. 0 without slots.
        """
        if not self._slots:
            return 0
        tried = range(min(BLOCKS_TRIED, len(self._slots), self._pool.shape[2]))
        saves = [BlockSave(BlockId(number), HostSlot(number)) for number in tried]
        loads = [BlockLoad(each.slot, each.block) for each in saves]
        took_ns = [self._round_trip_ns(saves, loads, clock_ns) for _ in range(TRIES)]
        return min(took_ns) // len(tried)

    def _round_trip_ns(
        self, saves: Sequence[BlockSave], loads: Sequence[BlockLoad], clock_ns: Callable[[], int]
    ) -> int:
        began_ns = clock_ns()
        self.save(saves)
        self.load(loads)
        if self._pool.is_cuda:
            torch.cuda.synchronize(self._pool.device)
        return clock_ns() - began_ns
