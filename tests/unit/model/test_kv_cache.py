"""Blocks are copied as asked, and sizes add up."""

from __future__ import annotations

import pytest
import torch

from replicas.engine.plan import BlockCopy, BlockId
from replicas.model.kv_cache import KvCache, block_bytes, blocks_that_fit
from tests.unit.model.checkpoints import SMALL

CPU = torch.device("cpu")


def numbered_cache(blocks_total: int = 4) -> KvCache:
    cache = KvCache(SMALL, blocks_total=blocks_total, block_size=4, device=CPU, dtype=torch.float32)
    cache.pool.copy_(torch.arange(cache.pool.numel()).view(cache.pool.shape))
    return cache


def table(*blocks: int) -> tuple[BlockId, ...]:
    return tuple(BlockId(block) for block in blocks)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_block_written_elsewhere_is_the_block_that_was_read(dtype: torch.dtype) -> None:
    """Written in another order and among others, each keeps what it holds in every layer."""
    source = KvCache(SMALL, blocks_total=5, block_size=4, device=CPU, dtype=dtype)
    source.pool.copy_(torch.randn(source.pool.shape))
    target = KvCache(SMALL, blocks_total=7, block_size=4, device=CPU, dtype=dtype)
    payloads = source.read(table(3, 0))
    target.write(table(1, 6), payloads)
    assert torch.equal(target.pool[:, :, 1], source.pool[:, :, 3])
    assert torch.equal(target.pool[:, :, 6], source.pool[:, :, 0])
    assert not target.pool[:, :, [0, 2, 3, 4, 5]].any()
    assert target.read(table(1, 6)) == payloads


def test_a_payload_is_one_block_of_all_layers_keys_before_values() -> None:
    cache = numbered_cache()
    (payload,) = cache.read(table(2))
    assert len(payload) == block_bytes(SMALL, block_size=4, dtype=torch.float32)
    read = torch.frombuffer(bytearray(payload), dtype=torch.float32)
    assert torch.equal(read.view(cache.pool[:, :, 2].shape), cache.pool[:, :, 2])


def test_no_block_is_read_or_written_when_none_is_named() -> None:
    cache = numbered_cache()
    assert cache.read(()) == ()
    cache.write((), ())


def not_finite() -> bytes:
    size = block_bytes(SMALL, block_size=4, dtype=torch.float32)
    return b"\xff" * size  # a NaN in every format


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ((b"",), "has .* bytes here, the payload 0"),
        ((numbered_cache().read(table(0))[0][:-1],), "the payload"),
        ((), "1 payloads for 2 blocks"),
        ((not_finite(),), "not finite"),
    ],
)
def test_a_wrong_payload_writes_nothing(last: tuple[bytes, ...], words: str) -> None:
    cache = numbered_cache()
    before = cache.pool.clone()
    good = cache.read(table(3))
    with pytest.raises(ValueError, match=words):
        cache.write(table(0, 1), (*good, *last))
    assert torch.equal(cache.pool, before)
