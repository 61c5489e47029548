"""Blocks are copied as asked, and sizes add up."""

from __future__ import annotations

import torch

from replicas.engine.plan import BlockCopy, BlockId
from replicas.model.kv_cache import KvCache, block_bytes, blocks_that_fit
from tests.unit.model.checkpoints import SMALL

CPU = torch.device("cpu")


def numbered_cache(blocks_total: int = 4) -> KvCache:
    cache = KvCache(SMALL, blocks_total=blocks_total, block_size=4, device=CPU, dtype=torch.float32)
    cache.pool.copy_(torch.arange(cache.pool.numel()).view(cache.pool.shape))
    return cache


def copy(source: int, target: int, slots: int) -> BlockCopy:
    return BlockCopy(BlockId(source), BlockId(target), slots)


def test_leading_slots_are_copied_in_all_layers_and_the_rest_is_left() -> None:
    cache = numbered_cache()
    before = cache.pool.clone()
    cache.copy([copy(1, 3, 3)])
    assert torch.equal(cache.pool[:, :, 3, :3], before[:, :, 1, :3])
    assert torch.equal(cache.pool[:, :, 3, 3:], before[:, :, 3, 3:])
    assert torch.equal(cache.pool[:, :, :3], before[:, :, :3])


def test_copies_happen_in_order() -> None:
    cache = numbered_cache()
    before = cache.pool.clone()
    cache.copy([copy(0, 1, 4), copy(1, 2, 4)])
    assert torch.equal(cache.pool[:, :, 2], before[:, :, 0])


def test_a_layer_is_a_view_of_the_pool() -> None:
    cache = numbered_cache()
    keys, values = cache.layer(1)
    keys[2, 0] = -1
    values[3, 1] = -2
    assert (cache.pool[1, 0, 2, 0] == -1).all()
    assert (cache.pool[1, 1, 3, 1] == -2).all()


def test_a_new_pool_is_finite() -> None:
    cache = KvCache(SMALL, blocks_total=64, block_size=16, device=CPU, dtype=torch.bfloat16)
    assert torch.isfinite(cache.pool).all()


def test_the_pool_takes_what_its_blocks_are_said_to_take() -> None:
    cache = numbered_cache(blocks_total=7)
    size = block_bytes(SMALL, block_size=4, dtype=torch.float32)
    assert cache.pool.nbytes == 7 * size


def test_as_many_blocks_fit_as_fit() -> None:
    size = block_bytes(SMALL, block_size=4, dtype=torch.bfloat16)

    def fit(bytes_available: int) -> int:
        return blocks_that_fit(
            SMALL, bytes_available=bytes_available, block_size=4, dtype=torch.bfloat16
        )

    assert (fit(size - 1), fit(size), fit(10 * size - 1)) == (0, 1, 9)
