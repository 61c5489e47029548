"""A simulated replica's place in the prefix registry: lease and block events.

It does what the live replica's keeper does while the registry is there: join,
renew three times a lease, and tell within a moment what became findable and
what was evicted. Of all that happened to a name since the last batch only the
last word counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from orchestrator.control.seams import Clock
from protos.hashing import BlockHash
from protos.messages import BlockEvent, BlockStored
from protos.registry import BlockBatch, Membership, RegistryWriter, ReplicaRecord

PUBLISH_S = 0.005  # the live replica's publish interval
RENEW_S = 1.0  # a third of the registry's lease


class RegistryLink:
    """One replica's writes to the registry. `join` first."""

    def __init__(self, registry: RegistryWriter, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._pending: dict[BlockHash, bool] = {}  # name -> is it stored
        self._news = asyncio.Event()

    async def join(self, record: ReplicaRecord) -> Membership:
        return await self._registry.join(record)

    def announce(self, events: Iterable[BlockEvent]) -> None:
        """Tell the registry within PUBLISH_S."""
        for event in events:
            self._pending.pop(event.block_hash, None)
            self._pending[event.block_hash] = isinstance(event, BlockStored)
        if self._pending:
            self._news.set()

    async def renew_forever(self, membership: Membership) -> None:
        while True:
            await self._clock.sleep(RENEW_S)
            assert await self._registry.renew(membership, draining=False), "a lease ended too early"

    async def publish_forever(self, membership: Membership) -> None:
        number = 0
        while True:
            await self._news.wait()
            await self._clock.sleep(PUBLISH_S)
            self._news.clear()
            changes, self._pending = self._pending, {}
            batch = BlockBatch(
                number=number,
                stored=tuple(name for name, is_stored in changes.items() if is_stored),
                removed=tuple(name for name, is_stored in changes.items() if not is_stored),
            )
            assert await self._registry.publish(membership, batch), "a gap in a replica's batches"
            number += 1
