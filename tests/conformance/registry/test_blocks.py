"""Batches: what a replica says it holds, in order, with gaps seen and repaired."""

from __future__ import annotations

import pytest

from protos.registry import BlockBatch, Membership, PrefixRegistry
from tests.conformance.registry.world import chain, record

PROMPT = chain("prompt", 40)
OTHER = chain("other", 8)
REPLICA = record("a").replica_id


@pytest.fixture
async def membership(registry: PrefixRegistry) -> Membership:
    return await registry.join(record("a"))


async def held(registry: PrefixRegistry) -> tuple[int, int]:
    """Leading blocks of the two prompts that replica a holds."""
    prompt, other = await registry.locate(PROMPT), await registry.locate(OTHER)
    return prompt.get(REPLICA, 0), other.get(REPLICA, 0)


async def test_batches_add_up(registry: PrefixRegistry, membership: Membership) -> None:
    assert await registry.publish(membership, BlockBatch(0, PROMPT[:16]))
    assert await registry.publish(membership, BlockBatch(1, PROMPT[16:20] + OTHER))
    assert await registry.publish(membership, BlockBatch(2, (), removed=PROMPT[18:20]))
    assert await held(registry) == (18, 8)


async def test_an_empty_batch_counts(registry: PrefixRegistry, membership: Membership) -> None:
    assert await registry.publish(membership, BlockBatch(0, ()))
    assert await registry.publish(membership, BlockBatch(1, PROMPT))
    assert await held(registry) == (40, 0)


async def test_a_block_removed_and_stored_in_one_batch_is_held(
    registry: PrefixRegistry, membership: Membership
) -> None:
    assert await registry.publish(membership, BlockBatch(0, PROMPT[:4]))
    assert await registry.publish(membership, BlockBatch(1, PROMPT[3:5], removed=PROMPT[3:5]))
    assert await held(registry) == (5, 0)


async def test_removing_what_was_never_stored_is_nothing(
    registry: PrefixRegistry, membership: Membership
) -> None:
    assert await registry.publish(membership, BlockBatch(0, PROMPT[:2], removed=OTHER))
    assert await held(registry) == (2, 0)


async def test_what_one_replica_removes_another_still_holds(
    registry: PrefixRegistry, membership: Membership
) -> None:
    other = await registry.join(record("b"))
    for each in (membership, other):
        assert await registry.publish(each, BlockBatch(0, PROMPT))
    assert await registry.publish(membership, BlockBatch(1, (), removed=PROMPT))
    assert await registry.locate(PROMPT) == {"b": 40}


async def test_a_batch_sent_twice_is_applied_once(
    registry: PrefixRegistry, membership: Membership
) -> None:
    first = BlockBatch(0, PROMPT[:4])
    assert await registry.publish(membership, first)
    assert await registry.publish(membership, BlockBatch(1, (), removed=PROMPT[2:4]))
    assert await registry.publish(membership, first)
    assert await held(registry) == (2, 0)


async def test_after_a_gap_only_a_complete_inventory_is_taken(
    registry: PrefixRegistry, membership: Membership
) -> None:
    assert await registry.publish(membership, BlockBatch(0, PROMPT[:4]))
    assert not await registry.publish(membership, BlockBatch(2, PROMPT[4:8]))
    assert not await registry.publish(membership, BlockBatch(1, PROMPT[4:6])), "too late"
    assert not await registry.publish(membership, BlockBatch(3, OTHER))
    assert not await registry.publish(membership, BlockBatch(0, PROMPT[:4])), "still broken"
    assert await held(registry) == (4, 0)
    assert await registry.publish(membership, BlockBatch(4, OTHER, complete=True))
    assert await held(registry) == (0, 8)
    assert await registry.publish(membership, BlockBatch(5, PROMPT))
    assert await held(registry) == (40, 8)


async def test_a_gap_right_after_joining_is_seen(
    registry: PrefixRegistry, membership: Membership
) -> None:
    assert not await registry.publish(membership, BlockBatch(1, PROMPT))
    assert await held(registry) == (0, 0)


async def test_an_empty_batch_shows_that_the_one_before_it_was_lost(
    registry: PrefixRegistry, membership: Membership
) -> None:
    assert await registry.publish(membership, BlockBatch(0, PROMPT))
    assert await registry.publish(membership, BlockBatch(1, ()))
    assert not await registry.publish(membership, BlockBatch(3, ()))
    assert await held(registry) == (40, 0)


async def test_a_complete_inventory_sets_the_number_to_count_from(
    registry: PrefixRegistry, membership: Membership
) -> None:
    assert await registry.publish(membership, BlockBatch(7, PROMPT, complete=True))
    assert await registry.publish(membership, BlockBatch(6, OTHER)), "older: known, ignored"
    assert await held(registry) == (40, 0)
    assert await registry.publish(membership, BlockBatch(8, OTHER))
    assert await held(registry) == (40, 8)


async def test_a_complete_inventory_that_arrives_again_late_is_ignored(
    registry: PrefixRegistry, membership: Membership
) -> None:
    inventory = BlockBatch(0, PROMPT[:4], complete=True)
    assert await registry.publish(membership, inventory)
    assert await registry.publish(membership, BlockBatch(1, PROMPT[4:8]))
    assert await registry.publish(membership, inventory)
    assert await held(registry) == (8, 0)


async def test_another_salt_never_hits(registry: PrefixRegistry, membership: Membership) -> None:
    mine, theirs = chain("prompt", 20, salt=b"mine"), chain("prompt", 20, salt=b"theirs")
    assert await registry.publish(membership, BlockBatch(0, mine))
    assert await registry.locate(mine) == {"a": 20}
    assert await registry.locate(theirs) == {}
    assert await registry.locate(chain("prompt", 20)) == {}


async def test_batches_of_any_size_are_whole(
    registry: PrefixRegistry, membership: Membership
) -> None:
    """1,300 and 513 blocks: more than the Redis registry sends at once."""
    long, longer = chain("long", 513), chain("longer", 1300)
    assert await registry.publish(membership, BlockBatch(0, longer))
    assert await registry.publish(membership, BlockBatch(1, long, removed=longer[700:]))
    assert await registry.locate(longer) == {"a": 700}
    assert await registry.locate(long) == {"a": 513}
    assert await registry.publish(membership, BlockBatch(2, longer, complete=True))
    assert await registry.locate(longer) == {"a": 1300}
    assert await registry.locate(long) == {}
    assert await registry.publish(membership, BlockBatch(3, long))
