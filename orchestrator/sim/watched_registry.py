"""The registry in memory: held to its bound at every batch, and as frail as a real one.

It can be out of reach, slow, or lose all that it knew. Even then epochs and
terms grow: that is its promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from orchestrator.registry.memory import MemoryRegistry
from protos.hashing import BlockHash
from protos.messages import ReplicaId
from protos.registry import (
    BlockBatch,
    Leader,
    Member,
    Membership,
    RegistryUnavailable,
    ReplicaRecord,
)


class WatchedRegistry(MemoryRegistry):
    """Asserts that no replica is believed to hold more blocks than it has."""

    is_down = False
    delay_s = 0.0

    async def join(self, record: ReplicaRecord) -> Membership:
        await self._reach()
        return await super().join(record)

    async def renew(self, membership: Membership, *, draining: bool) -> bool:
        await self._reach()
        return await super().renew(membership, draining=draining)

    async def publish(self, membership: Membership, batch: BlockBatch) -> bool:
        await self._reach()
        is_applied = await super().publish(membership, batch)
        entry = self._entries.get(membership.replica_id)
        if entry is not None:
            assert len(entry.held) <= entry.record.blocks_total, (
                f"the registry believes {membership.replica_id} to hold {len(entry.held)} blocks,"
                f" it has {entry.record.blocks_total}"
            )
        return is_applied

    async def leave(self, membership: Membership) -> None:
        await self._reach()
        await super().leave(membership)

    async def members(self) -> tuple[Member, ...]:
        await self._reach()
        return await super().members()

    async def locate(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int]:
        await self._reach()
        return await super().locate(hashes)

    async def lead(self, candidate: str, address: str) -> int | None:
        await self._reach()
        return await super().lead(candidate, address)

    async def leader(self) -> Leader | None:
        await self._reach()
        return await super().leader()

    # ---- for the simulated world

    def forget_all(self) -> None:
        """It was flushed, or came back without its memory."""
        self._entries.clear()
        self._leadership = None

    def remembered(self) -> Callable[[], None]:
        """A copy of what it knows now; calling it makes the registry know that again."""
        leadership = self._leadership
        entries = {
            replica_id: replace(entry, held=set(entry.held))
            for replica_id, entry in self._entries.items()
        }

        def restore() -> None:
            self._entries, self._leadership = entries, leadership

        return restore

    def believed(self, replica_id: ReplicaId) -> Set[BlockHash]:
        """What the registry believes the replica to hold."""
        entry = self._entries.get(replica_id)
        return entry.held if entry is not None else set()

    def epoch(self, replica_id: ReplicaId) -> int | None:
        """Of the replica's live membership."""
        entry = self._entries.get(replica_id)
        return entry.membership.epoch if entry is not None and self._is_live(entry) else None

    async def _reach(self) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.is_down:
            raise RegistryUnavailable("the simulated registry is down")
