"""The registry in memory, held to its bound at every batch."""

from __future__ import annotations

from collections.abc import Set

from orchestrator.registry.memory import MemoryRegistry
from protos.hashing import BlockHash
from protos.messages import ReplicaId
from protos.registry import BlockBatch, Membership


class WatchedRegistry(MemoryRegistry):
    """Asserts that no replica is believed to hold more blocks than it has."""

    async def publish(self, membership: Membership, batch: BlockBatch) -> bool:
        is_applied = await super().publish(membership, batch)
        entry = self._entries[membership.replica_id]
        assert len(entry.held) <= entry.record.blocks_total, (
            f"the registry believes {membership.replica_id} to hold {len(entry.held)} blocks,"
            f" it has {entry.record.blocks_total}"
        )
        return is_applied

    def believed(self, replica_id: ReplicaId) -> Set[BlockHash]:
        """What the registry believes the replica to hold."""
        return self._entries[replica_id].held
