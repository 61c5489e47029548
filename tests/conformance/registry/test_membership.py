"""Epochs, leases and slots: who is in the cluster, and since when."""

from __future__ import annotations

import pytest

from protos.registry import BlockBatch, PrefixRegistry, RegistryUnavailable
from tests.conformance.registry.world import SLOTS_MAX, World, chain, record

PROMPT = chain("prompt", 20)


async def names(registry: PrefixRegistry) -> list[str]:
    return [member.record.replica_id for member in await registry.members()]


async def test_a_replica_is_a_member_from_its_join_on(registry: PrefixRegistry) -> None:
    membership = await registry.join(record("a"))
    (member,) = await registry.members()
    assert member.record == record("a")
    assert member.epoch == membership.epoch
    assert not member.draining


async def test_nobody_is_a_member_of_an_empty_registry(registry: PrefixRegistry) -> None:
    assert await registry.members() == ()
    assert await registry.locate(PROMPT) == {}


async def test_members_come_by_replica_id(registry: PrefixRegistry) -> None:
    for name in ("b", "c", "a10", "a9"):
        await registry.join(record(name))
    assert await names(registry) == ["a10", "a9", "b", "c"]


async def test_a_replica_id_may_hold_spaces_and_other_letters(registry: PrefixRegistry) -> None:
    membership = await registry.join(record("réplica 1 of 2"))
    assert await registry.renew(membership, draining=False)
    assert await names(registry) == ["réplica 1 of 2"]


async def test_live_replicas_never_share_a_slot(registry: PrefixRegistry) -> None:
    slots = {(await registry.join(record(f"r{i}"))).slot for i in range(SLOTS_MAX)}
    assert len(slots) == SLOTS_MAX


async def test_every_join_gets_a_greater_epoch(world: World) -> None:
    epochs = [
        (await world.registry().join(record(name))).epoch for name in ("a", "b", "a", "a", "b")
    ]
    assert epochs == sorted(set(epochs))


async def test_a_replica_that_does_not_renew_is_in_no_answer(
    world: World, registry: PrefixRegistry
) -> None:
    silent = await registry.join(record("silent"))
    lively = await registry.join(record("lively"))
    for membership in (silent, lively):
        assert await registry.publish(membership, BlockBatch(0, PROMPT))
    await world.end_leases(keep=[lively])
    assert await names(registry) == ["lively"]
    assert await registry.locate(PROMPT) == {"lively": 20}


async def test_after_its_lease_a_replica_can_neither_renew_nor_publish(
    world: World, registry: PrefixRegistry
) -> None:
    membership = await registry.join(record("a"))
    await world.end_leases()
    assert not await registry.renew(membership, draining=False)
    assert not await registry.publish(membership, BlockBatch(0, PROMPT))
    assert await registry.members() == ()


async def test_a_replica_that_joins_again_starts_from_nothing(
    world: World, registry: PrefixRegistry
) -> None:
    first = await registry.join(record("a"))
    assert await registry.publish(first, BlockBatch(0, PROMPT))
    await world.end_leases()
    second = await registry.join(record("a"))
    assert await registry.locate(PROMPT) == {}
    assert await registry.publish(second, BlockBatch(0, PROMPT[:3]))
    assert await registry.locate(PROMPT) == {"a": 3}


async def test_a_restart_within_the_lease_inherits_nothing_either(
    registry: PrefixRegistry,
) -> None:
    first = await registry.join(record("a"))
    assert await registry.publish(first, BlockBatch(0, PROMPT))
    await registry.join(record("a"))
    assert await registry.locate(PROMPT) == {}
    assert await names(registry) == ["a"]


async def test_an_older_epoch_changes_nothing(registry: PrefixRegistry) -> None:
    older = await registry.join(record("a"))
    newer = await registry.join(record("a"))
    assert await registry.publish(newer, BlockBatch(0, PROMPT[:5]))
    assert not await registry.renew(older, draining=True)
    assert not await registry.publish(older, BlockBatch(1, PROMPT))
    assert not await registry.publish(older, BlockBatch(2, (), complete=True))
    await registry.leave(older)
    (member,) = await registry.members()
    assert (member.epoch, member.draining) == (newer.epoch, False)
    assert await registry.locate(PROMPT) == {"a": 5}


async def test_a_slot_comes_clean_to_its_next_replica(
    world: World, registry: PrefixRegistry
) -> None:
    dead = await registry.join(record("dead"))
    assert await registry.publish(dead, BlockBatch(0, PROMPT))
    await world.end_leases()
    heir = await registry.join(record("heir"))
    assert heir.slot == dead.slot
    assert await registry.locate(PROMPT) == {}
    assert not await registry.renew(dead, draining=False)
    assert not await registry.publish(dead, BlockBatch(1, PROMPT))
    assert await registry.locate(PROMPT) == {}


async def test_a_replica_whose_slot_was_taken_joins_into_another(
    world: World, registry: PrefixRegistry
) -> None:
    await registry.join(record("dead"))
    await world.end_leases()
    heir = await registry.join(record("heir"))
    back = await registry.join(record("dead"))
    assert back.slot != heir.slot
    assert await names(registry) == ["dead", "heir"]


async def test_a_replica_that_leaves_is_gone_at_once(registry: PrefixRegistry) -> None:
    leaver = await registry.join(record("leaver"))
    stays = await registry.join(record("stays"))
    for membership in (leaver, stays):
        assert await registry.publish(membership, BlockBatch(0, PROMPT))
    await registry.leave(leaver)
    assert await names(registry) == ["stays"]
    assert await registry.locate(PROMPT) == {"stays": 20}
    assert not await registry.renew(leaver, draining=False)
    assert not await registry.publish(leaver, BlockBatch(1, PROMPT))
    await registry.leave(leaver)


async def test_a_draining_replica_is_shown_as_such_and_still_holds_its_blocks(
    registry: PrefixRegistry,
) -> None:
    membership = await registry.join(record("a"))
    assert await registry.publish(membership, BlockBatch(0, PROMPT))
    assert await registry.renew(membership, draining=True)
    (member,) = await registry.members()
    assert member.draining
    assert await registry.locate(PROMPT) == {"a": 20}
    assert await registry.renew(membership, draining=False)
    (member,) = await registry.members()
    assert not member.draining


async def test_a_full_registry_says_so_until_a_lease_ends(
    world: World, registry: PrefixRegistry
) -> None:
    joined = [await registry.join(record(f"r{i}")) for i in range(SLOTS_MAX)]
    with pytest.raises(RegistryUnavailable, match="slots"):
        await registry.join(record("one too many"))
    await world.end_leases(keep=joined[1:])
    assert (await registry.join(record("one too many"))).slot == joined[0].slot


async def test_a_gateway_that_starts_late_is_exact_at_once(
    world: World, registry: PrefixRegistry
) -> None:
    early = world.registry()
    assert await early.members() == ()
    membership = await registry.join(record("a"))
    assert await registry.publish(membership, BlockBatch(0, PROMPT))
    late = world.registry()
    for gateway in (early, late):
        assert await gateway.locate(PROMPT) == {"a": 20}
        assert await names(gateway) == ["a"]
