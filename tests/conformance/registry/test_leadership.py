"""One leader at a time, by a lease, under terms that only grow."""

from __future__ import annotations

import asyncio

from protos.registry import Leader, PrefixRegistry
from tests.conformance.registry.world import World


async def test_nobody_leads_at_first(registry: PrefixRegistry) -> None:
    assert await registry.leader() is None


async def test_a_leader_is_found_by_everybody_and_followed_by_the_rest(
    world: World, registry: PrefixRegistry
) -> None:
    """Power: LEAD without its look at the holder fails here."""
    term = await registry.lead("one", "one:7000")
    assert term is not None
    other = world.registry()
    assert await other.leader() == Leader("one:7000", term)
    assert await other.lead("two", "two:7000") is None
    assert await registry.leader() == Leader("one:7000", term)


async def test_a_renewal_keeps_the_term(registry: PrefixRegistry) -> None:
    term = await registry.lead("one", "one:7000")
    assert await registry.lead("one", "one:7001") == term
    assert term is not None
    assert await registry.leader() == Leader("one:7001", term)


async def test_after_its_lease_a_leader_is_one_candidate_among_others(
    world: World, registry: PrefixRegistry
) -> None:
    first = await registry.lead("one", "one:7000")
    await world.end_leases()
    assert await registry.leader() is None
    second = await world.registry().lead("two", "two:7000")
    assert first is not None and second is not None and second > first
    assert await registry.lead("one", "one:7000") is None


async def test_whoever_leads_again_after_its_lease_leads_under_a_new_term(
    world: World, registry: PrefixRegistry
) -> None:
    """Between the two somebody else may have led."""
    first = await registry.lead("one", "one:7000")
    await world.end_leases()
    second = await registry.lead("one", "one:7000")
    assert first is not None and second is not None and second > first


async def test_a_leader_that_resigns_makes_room_at_once(
    world: World, registry: PrefixRegistry
) -> None:
    first = await registry.lead("one", "one:7000")
    await registry.resign("one")
    assert await registry.leader() is None
    second = await world.registry().lead("two", "two:7000")
    assert first is not None and second is not None and second > first


async def test_only_the_leader_can_resign(world: World, registry: PrefixRegistry) -> None:
    await registry.resign("two")
    term = await registry.lead("one", "one:7000")
    await world.registry().resign("two")
    assert term is not None
    assert await registry.leader() == Leader("one:7000", term)


async def test_the_knobs_that_a_leader_keeps_are_there_for_the_next_one(
    world: World, registry: PrefixRegistry
) -> None:
    """All of them at once: one that was turned back is not there any more."""
    assert await registry.policy() == {}
    term = await registry.lead("one", "one:7000")
    assert term is not None
    assert await registry.keep_policy(term, {"enabled": "off", "gap_begin": "9.5"})
    assert await registry.keep_policy(term, {"gap_begin": "12.0"})
    await world.end_leases()
    assert await world.registry().policy() == {"gap_begin": "12.0"}
    assert await registry.keep_policy(term, {})
    assert await registry.policy() == {}


async def test_an_earlier_leader_keeps_nothing_once_there_is_a_later_one(
    world: World, registry: PrefixRegistry
) -> None:
    first = await registry.lead("one", "one:7000")
    await world.end_leases()
    second = await world.registry().lead("two", "two:7000")
    assert first is not None and second is not None
    assert await registry.keep_policy(second, {"enabled": "off"})
    assert not await registry.keep_policy(first, {"enabled": "on"})
    assert not await registry.keep_policy(second + 1, {"enabled": "on"})
    assert await registry.policy() == {"enabled": "off"}


async def test_of_many_that_race_one_leads(world: World) -> None:
    candidates = [str(number) for number in range(8)]
    registries = [world.registry() for _ in candidates]
    terms = await asyncio.gather(
        *(
            registry.lead(candidate, f"{candidate}:7000")
            for registry, candidate in zip(registries, candidates, strict=True)
        )
    )
    led = [(c, term) for c, term in zip(candidates, terms, strict=True) if term is not None]
    ((winner, term),) = led
    assert await registries[0].leader() == Leader(f"{winner}:7000", term)
