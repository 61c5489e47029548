"""What was saved is what is loaded, to the bit, from any block to any other."""

from __future__ import annotations

import random
from itertools import count

import pytest
import torch

from replicas.engine.plan import BlockId, BlockLoad, BlockSave, HostSlot
from replicas.model import host_memory
from replicas.model.host_memory import HostMemory
from replicas.model.kv_cache import KvCache
from tests.unit.model.checkpoints import SMALL

CPU = torch.device("cpu")


def random_cache(dtype: torch.dtype) -> KvCache:
    cache = KvCache(SMALL, blocks_total=8, block_size=4, device=CPU, dtype=dtype)
    cache.pool.copy_(torch.randn(cache.pool.shape))
    return cache


def save(block: int, slot: int) -> BlockSave:
    return BlockSave(BlockId(block), HostSlot(slot))


def load(slot: int, block: int) -> BlockLoad:
    return BlockLoad(HostSlot(slot), BlockId(block))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_come_back_as_they_were_saved(dtype: torch.dtype) -> None:
    cache = random_cache(dtype)
    host = HostMemory(cache, blocks_total=5)
    before = cache.pool.clone()
    host.save([save(6, 0), save(1, 4)])
    cache.pool.zero_()
    host.load([load(4, 3), load(0, 7)])
    assert torch.equal(cache.pool[:, :, 3], before[:, :, 1])
    assert torch.equal(cache.pool[:, :, 7], before[:, :, 6])
    assert not cache.pool[:, :, [0, 1, 2, 4, 5, 6]].any()


def test_slots_of_several_chunks_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = random_cache(torch.float32)
    monkeypatch.setattr(host_memory, "CHUNK_BYTES", 3 * cache.payload_bytes)
    host = HostMemory(cache, blocks_total=8)
    before = cache.pool.clone()
    order = random.Random(1).sample(range(8), 8)
    host.save([save(block, slot) for slot, block in enumerate(order)])
    cache.pool.zero_()
    host.load([load(slot, block) for slot, block in enumerate(order)])
    assert torch.equal(cache.pool, before)
    with pytest.raises(IndexError):
        host.save([save(0, 8)])  # the last chunk is smaller


def test_what_a_block_takes_is_measured_and_leaves_the_pool_as_it_was() -> None:
    """A clock that ticks once at each look: one round trip of four blocks is a tick."""
    cache = random_cache(torch.float32)
    before = cache.pool.clone()
    ticks = count(0, 4_000)
    assert HostMemory(cache, blocks_total=9).block_ns(lambda: next(ticks)) == 1_000
    assert torch.equal(cache.pool, before)


def test_without_slots_a_block_takes_nothing() -> None:
    ticks = count(0, 4_000)
    host = HostMemory(random_cache(torch.float32), blocks_total=0)
    assert host.block_ns(lambda: next(ticks)) == 0
