"""Pinned host memory beside a card: moves that nobody waits for happen in the order asked for."""

from __future__ import annotations

import pytest
import torch

from replicas.bench.machine import clock_ns
from replicas.engine.plan import BlockId, BlockLoad, BlockSave, HostSlot
from replicas.model.host_memory import HostMemory
from replicas.model.kv_cache import KvCache
from tests.differential.kernels import shaped

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
]
BLOCKS = 64


def test_saves_writes_and_loads_keep_their_order_without_a_wait() -> None:
    cache = KvCache(
        shaped(32, 8, 128),
        blocks_total=BLOCKS,
        block_size=16,
        device=torch.device("cuda"),
        dtype=torch.bfloat16,
    )
    host = HostMemory(cache, blocks_total=BLOCKS)
    before = torch.randn(cache.pool.shape, device="cuda").to(cache.pool.dtype)
    cache.pool.copy_(before)
    blocks = [BlockId(number) for number in range(BLOCKS)]
    slots = [HostSlot(number) for number in reversed(range(BLOCKS))]
    for _ in range(3):
        host.save(map(BlockSave, blocks, slots))
        cache.pool.zero_()
        host.load(map(BlockLoad, slots, blocks[::-1]))
    assert torch.equal(cache.pool, before.flip(2))
    assert host.block_ns(clock_ns) > 0
