"""The prefix registry as plain dicts: the reference, and the simulator's own.

Deterministic: time comes from the `now_ns` it is given, and nothing else does
from outside. One object is the whole registry; everybody who shares it sees
every change at once. What it forgets it forgets as the Redis one does: a dead
replica's entry stays, in no answer, until its slot is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.registry.config import RegistryConfig
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


@dataclass(slots=True)
class _Entry:
    """One replica in one epoch."""

    record: ReplicaRecord
    membership: Membership
    lease_end_ns: int
    draining: bool = False
    batch_expected: int = 0
    has_gap: bool = False
    held: set[BlockHash] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Leadership:
    """One candidate's lease of the control plane."""

    candidate: str
    leader: Leader
    lease_end_ns: int


class MemoryRegistry:
    """PrefixRegistry in one process, under a given clock."""

    def __init__(self, now_ns: Callable[[], int], config: RegistryConfig) -> None:
        self._now_ns = now_ns
        self._config = config
        self._entries: dict[ReplicaId, _Entry] = {}
        self._epoch_last = 0
        self._leadership: _Leadership | None = None
        self._term_last = 0
        self._knobs: Mapping[str, str] = {}

    async def join(self, record: ReplicaRecord) -> Membership:
        slot = self._take_slot(record.replica_id)
        self._epoch_last += 1
        membership = Membership(record.replica_id, slot, self._epoch_last)
        self._entries[record.replica_id] = _Entry(record, membership, self._lease_end_ns())
        return membership

    async def renew(self, membership: Membership, *, draining: bool) -> bool:
        entry = self._live_entry(membership)
        if entry is None:
            return False
        entry.lease_end_ns = self._lease_end_ns()
        entry.draining = draining
        return True

    async def publish(self, membership: Membership, batch: BlockBatch) -> bool:
        entry = self._live_entry(membership)
        if entry is None:
            return False
        if batch.number < entry.batch_expected:
            return not entry.has_gap
        if not batch.complete and (entry.has_gap or batch.number > entry.batch_expected):
            entry.has_gap = True
            return False
        if batch.complete:
            entry.held.clear()
        entry.held.difference_update(batch.removed)
        entry.held.update(batch.stored)
        entry.batch_expected = batch.number + 1
        entry.has_gap = False
        return True

    async def leave(self, membership: Membership) -> None:
        entry = self._entries.get(membership.replica_id)
        if entry is not None and entry.membership == membership:
            entry.lease_end_ns = self._now_ns()

    async def members(self) -> tuple[Member, ...]:
        return tuple(
            Member(entry.record, entry.membership.epoch, entry.draining)
            for _, entry in sorted(self._entries.items())
            if self._is_live(entry)
        )

    async def locate(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int]:
        blocks = {
            replica_id: _leading(hashes, entry.held)
            for replica_id, entry in self._entries.items()
            if self._is_live(entry)
        }
        return {replica_id: count for replica_id, count in blocks.items() if count}

    async def lead(self, candidate: str, address: str) -> int | None:
        current = self._live_leadership()
        if current is not None and current.candidate != candidate:
            return None
        if current is None:
            self._term_last += 1
        leader = Leader(address, self._term_last)
        self._leadership = _Leadership(candidate, leader, self._lease_end_ns())
        return self._term_last

    async def resign(self, candidate: str) -> None:
        if self._leadership is not None and self._leadership.candidate == candidate:
            self._leadership = None

    async def leader(self) -> Leader | None:
        current = self._live_leadership()
        return None if current is None else current.leader

    async def keep_policy(self, term: int, knobs: Mapping[str, str]) -> bool:
        if term != self._term_last:
            return False
        self._knobs = dict(knobs)
        return True

    async def policy(self) -> Mapping[str, str]:
        return dict(self._knobs)

    def _take_slot(self, replica_id: ReplicaId) -> int:
        """The replica's former slot, else the lowest whose holder is dead; it is clean."""
        former = self._entries.get(replica_id)
        if former is not None:
            return former.membership.slot
        holders = {entry.membership.slot: entry for entry in self._entries.values()}
        for slot in range(self._config.slots_max):
            entry = holders.get(slot)
            if entry is None:
                return slot
            if not self._is_live(entry):
                del self._entries[entry.membership.replica_id]
                return slot
        raise RegistryUnavailable(
            f"all {self._config.slots_max} slots of the registry are taken by live replicas"
        )

    def _live_entry(self, membership: Membership) -> _Entry | None:
        entry = self._entries.get(membership.replica_id)
        if entry is None or entry.membership != membership or not self._is_live(entry):
            return None
        return entry

    def _live_leadership(self) -> _Leadership | None:
        current = self._leadership
        return current if current is not None and self._now_ns() < current.lease_end_ns else None

    def _is_live(self, entry: _Entry) -> bool:
        return self._now_ns() < entry.lease_end_ns

    def _lease_end_ns(self) -> int:
        return self._now_ns() + self._config.lease_ms * 1_000_000


def _leading(hashes: Sequence[BlockHash], held: set[BlockHash]) -> int:
    for index, block_hash in enumerate(hashes):
        if block_hash not in held:
            return index
    return len(hashes)
