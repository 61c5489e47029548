"""How late the registry may be, counted in flushes: a block is in the next batch, or the one after.

Method: a replica's keeper writes to a real server while its cache changes all
the time; after each answer of `publish` a gateway's registry is asked. A wall
clock would only measure the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry
from protos.hashing import BlockHash
from protos.messages import BlockEvent, BlockRemoved, BlockStored, ReplicaId
from protos.registry import BlockBatch, Membership
from replicas.shell.block_feed import BlockFeed
from replicas.shell.membership import MembershipKeeper
from replicas.shell.pace import Pace
from replicas.shell.reporter import Reporter
from tests.conformance.registry.world import chain, record
from tests.integration.control.until import until
from tests.unit.shell.counting import CONFIG, engine

pytestmark = pytest.mark.redis

RECORD = record("r-0")
PATIENT = RegistryConfig(lease_ms=600_000, operation_ms=10_000, connect_ms=10_000)
# One batch may be under way when a block changes; the change is in the one that follows it.
FLUSHES_MAX = 2


class CountingRegistry(RedisRegistry):
    """Counts the batches that were answered."""

    flushes = 0

    async def publish(self, membership: Membership, batch: BlockBatch) -> bool:
        is_applied = await super().publish(membership, batch)
        self.flushes += 1
        return is_applied


@dataclass
class Cache:
    """What a replica holds, told to its keeper as it changes."""

    keeper: MembershipKeeper
    registry: CountingRegistry
    feed: BlockFeed
    reader: RedisRegistry
    held: list[BlockHash] = field(default_factory=list)

    def store(self, *names: BlockHash) -> None:
        self.held += names
        self._tell([BlockStored(name) for name in names])

    def evict(self, name: BlockHash) -> None:
        self.held.remove(name)
        self._tell([BlockRemoved(name)])

    def _tell(self, events: list[BlockEvent]) -> None:
        self.keeper.announce(events)

    async def flushes_until(self, *, visible: BlockHash | None, gone: BlockHash | None) -> int:
        """How many batches were answered before a gateway saw it so."""
        began = self.registry.flushes
        while not await self._is_so(visible, gone):
            assert self.registry.flushes <= began + FLUSHES_MAX, "it should have been seen"
            await asyncio.sleep(0)
        return self.registry.flushes - began

    async def _is_so(self, visible: BlockHash | None, gone: BlockHash | None) -> bool:
        seen = visible is None or bool(await self.reader.locate([visible]))
        return seen and (gone is None or not await self.reader.locate([gone]))


@asynccontextmanager
async def cache(url: str) -> AsyncIterator[Cache]:
    config = replace(CONFIG, replica_id=ReplicaId("r-0"), publish_interval_ms=5, lease_ms=600_000)
    registry = CountingRegistry.connect(url, PATIENT)
    assert isinstance(registry, CountingRegistry)
    reader = RedisRegistry.connect(url, PATIENT)
    held: list[BlockHash] = []
    feed = BlockFeed(lambda: held, hashes_max=config.publish_hashes_max, pending_max=10_000)
    reporter = Reporter(engine(), config.replica_id, Pace())
    keeper = MembershipKeeper(registry, feed, reporter, config)
    running = asyncio.create_task(keeper.run(RECORD))
    made = Cache(keeper, registry, feed, reader, held)
    try:
        await until(lambda: registry.flushes and feed.is_empty, "it has joined")
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await registry.close()
        await reader.close()


async def test_a_block_is_visible_to_a_gateway_within_two_flushes(valkey: EmbeddedValkey) -> None:
    """Power: a keeper that sends every third batch only fails here."""
    async with cache(valkey.url) as made:
        for name in chain("stored", 40):
            made.store(name)
            assert await made.flushes_until(visible=name, gone=None) <= FLUSHES_MAX


async def test_an_evicted_block_is_gone_within_two_flushes(valkey: EmbeddedValkey) -> None:
    async with cache(valkey.url) as made:
        names = chain("evicted", 40)
        made.store(*names)
        await made.flushes_until(visible=names[-1], gone=None)
        for name in reversed(names):
            made.evict(name)
            assert await made.flushes_until(visible=None, gone=name) <= FLUSHES_MAX


async def test_so_it_is_while_everything_changes(valkey: EmbeddedValkey) -> None:
    """Thousands of other changes are under way: they share its batch, or fill one before it."""
    async with cache(valkey.url) as made:
        others = chain("others", 2000)
        marks = chain("marks", 12)
        for number, mark in enumerate(marks):
            made.store(*others[number * 100 : number * 100 + 100], mark)
            gone = marks[number - 1] if number else None
            if gone is not None:
                made.evict(gone)
            assert await made.flushes_until(visible=mark, gone=gone) <= FLUSHES_MAX


async def test_what_is_owed_is_told_with_reports_until_it_is_paid(valkey: EmbeddedValkey) -> None:
    async with cache(valkey.url) as made:
        assert made.feed.owed_since_ns is None
        (name,) = chain("owed", 1)
        made.store(name)
        assert made.feed.owed_since_ns is not None
        await made.flushes_until(visible=name, gone=None)
        await until(lambda: made.feed.owed_since_ns is None, "nothing is owed any more")
