"""The registry may vanish, hang, forget us or lose batches; the truth arrives again.

Method: the reference registry under a hand-moved clock, wrapped so that it
can be unreachable, silent or forgetful. The keeper runs on the real loop with
a lease of 60 ms, so that no wait is long.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from enum import Enum, auto

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.hashing import BlockHash
from protos.messages import BlockStored, ReplicaId
from protos.registry import BlockBatch, Membership, RegistryUnavailable, ReplicaRecord
from replicas.shell.block_feed import BlockFeed
from replicas.shell.membership import MembershipKeeper
from replicas.shell.pace import Pace
from replicas.shell.reporter import Reporter
from tests.unit.shell.counting import CARD, CONFIG, engine
from tests.unit.shell.eventually import eventually, eventually_answers

LEASE_MS = 60
LONG_MS = 600_000  # where every batch is counted: with each renewal goes one
RECORD = ReplicaRecord(ReplicaId("r-0"), "127.0.0.1:1", CARD, 64)


class Weather(Enum):
    """How the registry is reached."""

    FINE = auto()
    DOWN = auto()
    SILENT = auto()
    LOSSY = auto()  # confirms batches and loses them, as a fail-over can


class WeatheredRegistry:
    """The reference registry behind a wire that can fail."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.weather = Weather.FINE
        self.memory = MemoryRegistry(lambda: self.now_ns, RegistryConfig(lease_ms=LEASE_MS))
        self.calls = 0
        self.epochs: list[int] = []
        self.batches: list[BlockBatch] = []

    async def join(self, record: ReplicaRecord) -> Membership:
        await self._reach()
        membership = await self.memory.join(record)
        self.epochs.append(membership.epoch)
        return membership

    async def renew(self, membership: Membership, *, draining: bool) -> bool:
        await self._reach()
        return await self.memory.renew(membership, draining=draining)

    async def publish(self, membership: Membership, batch: BlockBatch) -> bool:
        await self._reach()
        self.batches.append(batch)
        if self.weather is Weather.LOSSY:
            return True
        return await self.memory.publish(membership, batch)

    async def leave(self, membership: Membership) -> None:
        await self._reach()
        await self.memory.leave(membership)

    async def _reach(self) -> None:
        self.calls += 1
        match self.weather:
            case Weather.DOWN:
                raise RegistryUnavailable("connection refused")
            case Weather.SILENT:
                await asyncio.Event().wait()


class Place:
    """A keeper, the blocks it speaks of, and its registry."""

    def __init__(self, lease_ms: int = LEASE_MS) -> None:
        self.registry = WeatheredRegistry()
        self.held: list[BlockHash] = []
        config = replace(CONFIG, lease_ms=lease_ms, publish_interval_ms=1, retry_ms_max=10)
        self.reporter = Reporter(engine(), RECORD.replica_id, Pace())
        feed = BlockFeed(lambda: tuple(self.held), hashes_max=4, pending_max=100)
        self.keeper = MembershipKeeper(self.registry, feed, self.reporter, config)

    def store(self, *numbers: int) -> None:
        hashes = [BlockHash(bytes([number])) for number in numbers]
        self.held += hashes
        self.keeper.announce(BlockStored(block_hash) for block_hash in hashes)

    async def located(self) -> int:
        return (await self.registry.memory.locate(self.held)).get(RECORD.replica_id, 0)

    async def is_draining(self) -> bool:
        return any(member.draining for member in await self.registry.memory.members())

    async def has_sent(self, number: int) -> None:
        """Wait until a batch with this block went out, whatever became of it."""
        block_hash = BlockHash(bytes([number]))
        await eventually(
            lambda: any(block_hash in batch.stored for batch in self.registry.batches),
            f"block {number} is sent",
        )

    async def is_told(self, what: str) -> None:
        """Wait until the registry knows every block."""

        async def knows() -> bool:
            return await self.located() == len(self.held)

        await eventually_answers(knows, f"the registry learns of {what}")

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.keeper.run(RECORD))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_it_joins_and_tells_what_is_held_and_what_comes() -> None:
    place = Place(LONG_MS)
    place.store(1, 2)
    async with place.kept():
        await place.is_told("the inventory")
        place.store(3)
        await place.is_told("a new block")
        assert place.reporter.epoch == place.registry.epochs[0]
    assert [batch.number for batch in place.registry.batches] == [0, 1]


async def test_many_changes_share_few_batches() -> None:
    place = Place(LONG_MS)
    async with place.kept():
        await eventually(lambda: bool(place.registry.batches), "the empty inventory")
        place.store(*range(40))
        await place.is_told("forty blocks")
    assert all(len(batch.stored) <= 4 for batch in place.registry.batches)
    assert len(place.registry.batches) == 1 + 10


async def test_a_lost_registry_is_caught_up_without_a_new_epoch() -> None:
    place = Place()
    async with place.kept():
        place.store(1)
        await place.is_told("before")
        place.registry.weather = Weather.DOWN
        calls = place.registry.calls
        place.store(2)
        await eventually(lambda: place.registry.calls > calls + 2, "it tries again")
        place.registry.weather = Weather.FINE
        await place.is_told("after")
    assert len(place.registry.epochs) == 1


async def test_a_silent_registry_is_not_waited_for() -> None:
    place = Place()
    async with place.kept():
        place.store(1)
        await place.is_told("before")
        place.registry.weather = Weather.SILENT
        calls = place.registry.calls
        await eventually(lambda: place.registry.calls > calls + 2, "it tries again")
        place.registry.weather = Weather.FINE
        place.store(2)
        await place.is_told("after")


async def test_after_an_expired_lease_it_joins_again_and_tells_everything() -> None:
    place = Place()
    async with place.kept():
        place.store(1, 2)
        await place.is_told("before")
        place.registry.now_ns += LEASE_MS * 1_000_000  # everyone else's clock jumped
        assert await place.located() == 0
        await place.is_told("the whole inventory again")
    first, second = place.registry.epochs
    assert second > first
    assert place.reporter.epoch == second


async def test_a_registry_that_missed_a_batch_gets_the_inventory_in_the_same_epoch() -> None:
    place = Place()
    async with place.kept():
        place.store(1)
        await place.is_told("before")
        place.registry.weather = Weather.LOSSY
        place.store(2)
        await place.has_sent(2)
        place.registry.weather = Weather.FINE
        place.store(3)
        await place.is_told("what it had lost, too")
    assert len(place.registry.epochs) == 1
    assert sum(batch.complete for batch in place.registry.batches) == 2


async def test_a_batch_lost_after_its_answer_is_told_again_even_if_nothing_else_happens() -> None:
    """Seed 1182 of the storm: Redis failed over, and an idle replica never spoke of blocks again.

    Power: without a batch at each renewal the registry stays wrong.
    """
    place = Place()
    async with place.kept():
        place.store(1)
        await place.is_told("before")
        place.registry.weather = Weather.LOSSY
        place.store(2)
        await place.has_sent(2)
        place.registry.weather = Weather.FINE
        await place.is_told("what it had lost")
    assert len(place.registry.epochs) == 1


async def test_draining_is_told_long_before_the_next_renewal() -> None:
    place = Place(LONG_MS)
    async with place.kept():
        place.store(1)
        await place.is_told("before")
        place.keeper.tell_draining(True)
        await eventually_answers(place.is_draining, "draining is told")


async def test_draining_is_told_in_every_later_epoch() -> None:
    place = Place()
    async with place.kept():
        place.store(1)
        await place.is_told("before")
        place.keeper.tell_draining(True)
        await eventually_answers(place.is_draining, "draining is told")
        place.registry.now_ns += LEASE_MS * 1_000_000
        await eventually(lambda: len(place.registry.epochs) == 2, "it joined again")
        await eventually_answers(place.is_draining, "draining is told again")


async def test_leaving_ends_the_membership_and_survives_a_lost_registry() -> None:
    for weather, members in ((Weather.FINE, 0), (Weather.DOWN, 1), (Weather.SILENT, 1)):
        place = Place()
        async with place.kept():
            place.store(1)
            await place.is_told("before")
        place.registry.weather = weather
        await place.keeper.leave()
        await place.keeper.leave()
        assert len(await place.registry.memory.members()) == members


async def test_a_report_says_how_long_the_registry_has_been_behind() -> None:
    place = Place()

    def behind_ns() -> int:
        return place.reporter.snapshot().registry_behind_ns

    async with place.kept():
        place.store(1)
        await place.is_told("a block")
        await eventually(lambda: behind_ns() == 0, "it is acknowledged")
        place.registry.weather = Weather.DOWN
        place.store(2)
        await eventually(lambda: behind_ns() > 5_000_000, "it grows while nobody answers")
        place.registry.weather = Weather.FINE
        await eventually(lambda: behind_ns() == 0, "the registry has caught up")
