from __future__ import annotations

from collections.abc import Callable

import pytest

from protos.hashing import BlockHash
from protos.messages import BlockRemoved, BlockStored
from replicas.engine.block_pool import BlockContent, BlockPool
from replicas.engine.plan import BlockId

ROOT = BlockHash(b"root")


def content(name: bytes, parent: bytes = ROOT, index: int = 0) -> BlockContent:
    return BlockContent(BlockHash(name), BlockHash(parent), index, (1, 2))


def chain(pool: BlockPool, *names: bytes) -> list[BlockId]:
    """A table of named blocks, each the child of the one before."""
    table, parent = [], bytes(ROOT)
    for index, name in enumerate(names):
        block = pool.allocate()
        pool.name(block, content(name, parent, index))
        table.append(block)
        parent = name
    return table


def counts(pool: BlockPool) -> tuple[int, int, int]:
    return pool.blocks_free, pool.blocks_cached, pool.blocks_used


def test_blocks_move_between_free_used_and_cached() -> None:
    pool = BlockPool(4)
    assert counts(pool) == (4, 0, 0)
    table = [*chain(pool, b"x"), pool.allocate()]
    assert counts(pool) == (2, 0, 2)
    pool.release_table(table)
    assert table == []
    assert counts(pool) == (3, 1, 0)
    pool.check([])


def test_a_shared_block_stays_until_its_last_holder_leaves() -> None:
    pool = BlockPool(2)
    block = pool.allocate()
    pool.share(block)
    pool.release(block)
    assert pool.references(block) == 1
    assert counts(pool) == (1, 0, 1)
    pool.release(block)
    assert counts(pool) == (2, 0, 0)


def test_a_block_cannot_be_released_more_often_than_it_was_taken() -> None:
    pool = BlockPool(2)
    block = pool.allocate()
    pool.release(block)
    with pytest.raises(AssertionError, match="nobody holds"):
        pool.release(block)


def test_a_free_block_cannot_be_shared() -> None:
    with pytest.raises(AssertionError, match="share of free block"):
        BlockPool(1).share(BlockId(0))


def test_an_empty_pool_has_nothing_to_allocate() -> None:
    pool = BlockPool(1)
    pool.allocate()
    with pytest.raises(AssertionError, match="without an available block"):
        pool.allocate()


def test_a_cached_block_is_used_only_when_no_free_one_is_left() -> None:
    pool = BlockPool(2)
    pool.release_table(chain(pool, b"x"))
    pool.allocate()
    assert pool.find(BlockHash(b"x")) is not None
    pool.allocate()
    assert pool.find(BlockHash(b"x")) is None


def test_children_are_evicted_before_their_parents() -> None:
    pool = BlockPool(3)
    pool.release_table(chain(pool, b"x", b"y", b"z"))
    pool.take_events()
    for _ in range(3):
        pool.allocate()
    removed = [BlockRemoved(BlockHash(name)) for name in (b"z", b"y", b"x")]
    assert pool.take_events() == tuple(removed)


def test_a_chain_used_again_outlives_one_that_was_not() -> None:
    pool = BlockPool(4)
    old, new = chain(pool, b"a", b"b"), chain(pool, b"c", b"d")
    again = list(old)
    pool.release_table(old)
    pool.release_table(new)
    for block in again:
        pool.share(block)
    pool.release_table(again)
    pool.allocate()
    pool.allocate()
    assert pool.names() == (b"a", b"b")


def test_a_parent_used_without_its_child_still_outlives_it() -> None:
    """The child stays where it was in the order of eviction, the parent moves behind it."""
    pool = BlockPool(2)
    table = chain(pool, b"x", b"y")
    parent = table[0]
    pool.release_table(table)
    pool.share(parent)
    pool.release(parent)
    pool.allocate()
    assert pool.names() == (b"x",)
    pool.check([[BlockId(1)]])


def test_names_are_reported_in_order_and_once() -> None:
    pool = BlockPool(1)
    pool.release_table(chain(pool, b"x"))
    chain(pool, b"y")
    assert pool.take_events() == (
        BlockStored(BlockHash(b"x")),
        BlockRemoved(BlockHash(b"x")),
        BlockStored(BlockHash(b"y")),
    )
    assert pool.take_events() == ()


def test_an_evicted_block_forgets_what_it_held() -> None:
    pool = BlockPool(1)
    (block,) = table = chain(pool, b"x")
    pool.release_table(table)
    assert pool.allocate() == block
    assert pool.content(block) is None


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (content(b"x"), "two blocks of one name"),
        (content(b"y", parent=b"nobody", index=1), "child without its parent"),
    ],
)
def test_a_name_is_unique_and_follows_its_parent(second: BlockContent, message: str) -> None:
    pool = BlockPool(2)
    chain(pool, b"x")
    with pytest.raises(AssertionError, match=message):
        pool.name(pool.allocate(), second)


def test_only_the_one_holder_of_a_block_names_it_and_once() -> None:
    pool = BlockPool(2)
    block = pool.allocate()
    pool.share(block)
    with pytest.raises(AssertionError, match="not one holder"):
        pool.name(block, content(b"x"))
    (named,) = chain(pool, b"y")
    with pytest.raises(AssertionError, match="has a name already"):
        pool.name(named, content(b"x"))


def spoil_references(pool: BlockPool) -> None:
    pool._references[1] += 1


def spoil_free_list(pool: BlockPool) -> None:
    pool._free.append(pool._free[0])


def spoil_places(pool: BlockPool) -> None:
    pool._free.append(BlockId(0))


def spoil_total(pool: BlockPool) -> None:
    pool._free.pop()


def spoil_name(pool: BlockPool) -> None:
    pool._by_name[BlockHash(b"stale")] = pool._by_name.pop(BlockHash(b"y"))


def spoil_parent(pool: BlockPool) -> None:
    block = pool._by_name.pop(BlockHash(b"x"))
    del pool._contents[block]


def spoil_children(pool: BlockPool) -> None:
    pool._children[ROOT] += 1


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_references,
        spoil_free_list,
        spoil_places,
        spoil_total,
        spoil_name,
        spoil_parent,
        spoil_children,
    ],
)
def test_check_notices(spoil: Callable[[BlockPool], None]) -> None:
    pool = BlockPool(5)
    table = chain(pool, b"x", b"y")
    pool.check([table])
    spoil(pool)
    with pytest.raises(AssertionError):
        pool.check([table])


def test_check_notices_a_table_that_names_a_block_twice() -> None:
    pool = BlockPool(2)
    block = pool.allocate()
    pool.share(block)
    with pytest.raises(AssertionError, match="twice in the table"):
        pool.check([[block, block]])


def test_a_block_that_is_named_alike_again_is_not_the_one_that_was_found() -> None:
    pool = BlockPool(1)
    pool.release_table(chain(pool, b"x"))
    found = pool.find_chain([content(b"x")])
    assert pool.intact(found) == 1
    pool.release_table(chain(pool, b"x"))  # evicted, and written in between
    assert pool.find_chain([content(b"x")]) == found
    assert pool.intact(found) == 0


def test_a_chain_ends_where_a_name_stands_for_other_tokens() -> None:
    pool = BlockPool(2)
    chain(pool, b"x", b"y")
    other = BlockContent(BlockHash(b"y"), BlockHash(b"x"), 1, (1, 3))
    assert len(pool.find_chain([content(b"x"), content(b"y", b"x", 1)])) == 2
    assert len(pool.find_chain([content(b"x"), other])) == 1
