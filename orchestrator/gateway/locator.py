"""Who holds this prefix, or soon will? Asked with a bound; "nobody, as far as known" is an answer.

While the registry is missing, requests do not queue up behind its timeout:
after a failure nobody asks for a pause, then one asks again. Until it is back
a prefix is looked for where requests with it went of late. One that was never
seen here belongs to a replica by rendezvous: every gateway names the same one
without asking anybody, so that what begins alike comes together. That is worth
little in the reckoning, as nobody knows whether it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from orchestrator.control.cluster import Cluster
from orchestrator.control.seams import Clock
from orchestrator.gateway.intended import IntendedBlocks
from orchestrator.gateway.totals import Totals
from protos.hashing import BlockHash
from protos.messages import ReplicaId
from protos.registry import RegistryReader, RegistryUnavailable


@dataclass(frozen=True, slots=True)
class LocatorConfig:
    timeout_s: float = 0.1  # a lookup takes 0.2 ms; what this late a hit saves is spent
    pause_ns: int = 1_000_000_000
    # Prompts whose chains are the same up to this block go together without a registry,
    rendezvous_block: int = 8
    # and this much of such a prompt counts as a hit there.
    rendezvous_share: float = 0.25


@dataclass(frozen=True, slots=True)
class Hits:
    """Leading blocks to count on at each replica; a guess where nobody knows anything."""

    blocks: Mapping[ReplicaId, int]
    is_guess: bool = False


class Locator:
    """The registry's `locate`, made safe to wait for, and what it cannot know."""

    def __init__(
        self,
        registry: RegistryReader,
        intended: IntendedBlocks,
        cluster: Cluster,
        clock: Clock,
        totals: Totals,
        config: LocatorConfig,
    ) -> None:
        self._registry = registry
        self._intended = intended
        self._cluster = cluster
        self._clock = clock
        self._totals = totals
        self._config = config
        self._ask_again_ns = 0

    async def locate(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int] | None:
        """Leading blocks that each replica holds by the registry; None while that is missing."""
        if not hashes:
            return {}
        if self._clock.now_ns() < self._ask_again_ns:
            self._totals.registry_missed += 1
            return None
        try:
            async with asyncio.timeout(self._config.timeout_s):
                registered = await self._registry.locate(hashes)
        except (RegistryUnavailable, TimeoutError):
            self._totals.registry_missed += 1
            self._ask_again_ns = self._clock.now_ns() + self._config.pause_ns
            return None
        self._intended.confirm(registered, hashes)
        return registered

    def hits(self, registered: Mapping[ReplicaId, int] | None, hashes: Sequence[BlockHash]) -> Hits:
        """What to count on now, given what the registry said."""
        epochs = self._cluster.epochs()
        if registered is not None:
            return Hits(self._intended.foresee(registered, hashes, epochs, self._clock.now_ns()))
        recalled = self._intended.recall(hashes, epochs)
        if recalled or not hashes or not epochs:
            return Hits(recalled)
        name = hashes[min(len(hashes), self._config.rendezvous_block) - 1]
        blocks = round(len(hashes) * self._config.rendezvous_share)
        return Hits({rendezvous(name, epochs): blocks}, is_guess=True)


def rendezvous(name: BlockHash, replica_ids: Iterable[ReplicaId]) -> ReplicaId:
    """The replica that every gateway would choose for this name, of those that it sees."""

    def weight(replica_id: ReplicaId) -> bytes:
        return blake2b(name + replica_id.encode(), digest_size=8).digest()

    return max(replica_ids, key=weight)
