"""Any history of joins, renewals, batches, leads and deaths, against a shadow of it.

The shadow is the contract in its plainest form: per replica one set of blocks
and one number, no slots, no bits, no expiry. After every step both must tell
the same members, the same leader and the same prefixes. What a replica holds stays closed
towards the root, as eviction from the leaf keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from protos.hashing import BlockHash
from protos.registry import BlockBatch, Leader, Membership
from tests.conformance.registry.world import MemoryWorld, RedisWorld, World, chain, record

CHAINS = (chain("left", 40), chain("right", 20))
lengths = st.tuples(*(st.integers(0, len(blocks)) for blocks in CHAINS))
names = st.sampled_from(["a", "b", "c", "d"])
candidates = st.sampled_from(["one", "two", "three"])
Answer = TypeVar("Answer")


@dataclass
class Shadow:
    """What the registry must believe of one replica in its newest epoch."""

    membership: Membership
    live: bool = True
    draining: bool = False
    expected: int = 0
    gap: bool = False
    held: set[BlockHash] = field(default_factory=set)

    def answer(self, batch: BlockBatch) -> bool:
        if batch.number < self.expected:
            return not self.gap
        if not batch.complete and (self.gap or batch.number != self.expected):
            self.gap = True
            return False
        kept = set() if batch.complete else self.held - set(batch.removed)
        self.held = kept | set(batch.stored)
        self.expected, self.gap = batch.number + 1, False
        return True


class RegistryMachine(RuleBasedStateMachine):
    """Drives one registry, as several processes see it, and its shadow."""

    memberships: Bundle[Membership] = Bundle("memberships")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = self.run(self.new_world())
        self.writer, self.reader = self.world.registry(), self.world.registry()
        self.shadows: dict[str, Shadow] = {}
        self.leading: str | None = None
        self.term_last = 0

    async def new_world(self) -> World:
        return MemoryWorld()

    def run(self, answer: Coroutine[None, None, Answer]) -> Answer:
        return self.runner.run(answer)

    def teardown(self) -> None:
        self.run(self.world.close())
        self.runner.close()

    def shadow_of(self, membership: Membership) -> Shadow | None:
        """The shadow, if this membership may still write."""
        shadow = self.shadows[membership.replica_id]
        return shadow if shadow.live and shadow.membership == membership else None

    def publish(self, membership: Membership, batch: BlockBatch) -> None:
        shadow = self.shadow_of(membership)
        expected = shadow is not None and shadow.answer(batch)
        assert self.run(self.writer.publish(membership, batch)) is expected

    @rule(target=memberships, name=names)
    def epoch_change(self, name: str) -> Membership:
        """A replica joins, for the first time or again."""
        membership = self.run(self.writer.join(record(name)))
        if name in self.shadows:
            assert membership.epoch > self.shadows[name].membership.epoch
        self.shadows[name] = Shadow(membership)
        return membership

    @rule(membership=memberships, draining=st.booleans())
    def renew(self, membership: Membership, draining: bool) -> None:
        shadow = self.shadow_of(membership)
        if shadow is not None:
            shadow.draining = draining
        answer = self.run(self.writer.renew(membership, draining=draining))
        assert answer is (shadow is not None)

    @rule(membership=memberships, wanted=lengths, skew=st.sampled_from([0, 0, 0, -1, 1]))
    def publish_changes(self, membership: Membership, wanted: tuple[int, ...], skew: int) -> None:
        shadow = self.shadow_of(membership) or Shadow(membership)
        blocks = _blocks(wanted)
        batch = BlockBatch(
            number=max(0, shadow.expected + skew),
            stored=tuple(block for block in blocks if block not in shadow.held),
            removed=tuple(sorted(shadow.held.difference(blocks))),
        )
        self.publish(membership, batch)

    @rule(membership=memberships, wanted=lengths, skew=st.integers(-1, 2))
    def publish_inventory(self, membership: Membership, wanted: tuple[int, ...], skew: int) -> None:
        shadow = self.shadow_of(membership) or Shadow(membership)
        number = max(0, shadow.expected + skew)
        self.publish(membership, BlockBatch(number, _blocks(wanted), complete=True))

    @rule(membership=memberships, wanted=lengths, lost=st.integers(1, 3))
    def gap(self, membership: Membership, wanted: tuple[int, ...], lost: int) -> None:
        """Batches are lost on the way; the next one shows it."""
        shadow = self.shadow_of(membership) or Shadow(membership)
        self.publish(membership, BlockBatch(shadow.expected + lost, _blocks(wanted)))

    @rule(membership=memberships, wanted=lengths)
    def reorder(self, membership: Membership, wanted: tuple[int, ...]) -> None:
        """Of two batches the second one comes first."""
        shadow = self.shadow_of(membership) or Shadow(membership)
        first = BlockBatch(shadow.expected, _blocks(wanted))
        self.publish(membership, BlockBatch(first.number + 1, ()))
        self.publish(membership, first)

    @rule(membership=memberships, wanted=lengths, complete=st.booleans())
    def duplicate(self, membership: Membership, wanted: tuple[int, ...], complete: bool) -> None:
        """A batch comes again, after another one."""
        shadow = self.shadow_of(membership) or Shadow(membership)
        batch = BlockBatch(shadow.expected, _blocks(wanted), complete=complete)
        nothing_new = BlockBatch(batch.number + 1, ())
        for each in (batch, nothing_new, batch, nothing_new):
            self.publish(membership, each)

    @rule()
    def late_joiner(self) -> None:
        """A gateway that has just begun, and has seen nothing, is asked from now on."""
        self.reader = self.world.registry()

    @rule(membership=memberships)
    def crash(self, membership: Membership) -> None:
        """A replica dies without a word; once its lease has ended nothing is left of it."""
        dying = self.shadow_of(membership)
        self.end_all_but({n for n, s in self.shadows.items() if s.live and s is not dying})

    @rule(membership=memberships)
    def leave(self, membership: Membership) -> None:
        shadow = self.shadow_of(membership)
        if shadow is not None:
            shadow.live = False
        self.run(self.writer.leave(membership))

    @rule(candidate=candidates)
    def lead(self, candidate: str) -> None:
        term = self.run(self.writer.lead(candidate, f"{candidate}:7000"))
        if self.leading is None:
            assert term is not None and term > self.term_last
            self.leading, self.term_last = candidate, term
        assert term == (self.term_last if self.leading == candidate else None)

    @rule(candidate=candidates)
    def resign(self, candidate: str) -> None:
        self.run(self.writer.resign(candidate))
        if self.leading == candidate:
            self.leading = None

    @rule(kept=st.sets(names))
    def lease_expiry(self, kept: set[str]) -> None:
        self.end_all_but(kept)

    def end_all_but(self, kept: set[str]) -> None:
        self.leading = None
        for name, shadow in self.shadows.items():
            shadow.live = shadow.live and name in kept
        keep = [shadow.membership for shadow in self.shadows.values() if shadow.live]
        self.run(self.world.end_leases(keep=keep))

    @invariant()
    def members_are_the_living(self) -> None:
        members = self.run(self.reader.members())
        assert [(m.record.replica_id, m.epoch, m.draining) for m in members] == [
            (name, shadow.membership.epoch, shadow.draining)
            for name, shadow in sorted(self.shadows.items())
            if shadow.live
        ]

    @invariant()
    def the_leader_is_the_last_that_could_lead(self) -> None:
        expected = self.leading and Leader(f"{self.leading}:7000", self.term_last)
        assert self.run(self.reader.leader()) == expected

    @invariant()
    def prefixes_are_where_the_shadow_has_them(self) -> None:
        for blocks in CHAINS:
            expected = {
                name: sum(block in shadow.held for block in blocks)
                for name, shadow in self.shadows.items()
                if shadow.live and blocks[0] in shadow.held
            }
            assert self.run(self.reader.locate(blocks)) == expected


def _blocks(wanted: tuple[int, ...]) -> tuple[BlockHash, ...]:
    return tuple(
        block for blocks, length in zip(CHAINS, wanted, strict=True) for block in blocks[:length]
    )


def test_the_memory_registry_follows_its_shadow() -> None:
    """Power: dropping the gap check, the clearing on rejoin or the lease check fails here."""
    run_state_machine_as_test(
        RegistryMachine,
        settings=settings(max_examples=100, stateful_step_count=30, deadline=None),
    )


@pytest.mark.redis
def test_the_redis_registry_follows_its_shadow(valkey_url: str) -> None:
    """Power: skipping the sweep at join, a fence in a script or BITCOUNT's DEL fails here."""

    class MachineOnRedis(RegistryMachine):
        async def new_world(self) -> World:
            return RedisWorld(valkey_url)

    run_state_machine_as_test(
        MachineOnRedis,
        settings=settings(max_examples=15, stateful_step_count=25, deadline=None),
    )
