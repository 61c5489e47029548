"""One node's way to the registry: as long and as lossy as the network makes it, or parted.

A call whose answer does not come within the registry's bound is unavailable to
the caller, whether or not it took effect: that is left open, as with a real
server. Calls that are under way when the way is parted come through.

What a gateway announces goes the way of its own to the server and from there
the way of each other gateway; on one that is parted it is lost, as it is where
the server is down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory_announcer import Bulletin, MemoryAnnouncer
from orchestrator.sim.network import Network
from orchestrator.sim.watched_registry import WatchedRegistry
from protos.hashing import BlockHash
from protos.messages import ReplicaId
from protos.registry import (
    Announcement,
    BlockBatch,
    Leader,
    Member,
    Membership,
    PrefixRegistry,
    RegistryUnavailable,
    ReplicaRecord,
)

REDIS = "redis"
ANSWER_S_MAX = RegistryConfig().operation_ms / 1000
Answer = TypeVar("Answer")


class RegistryWay:
    """PrefixRegistry for one node."""

    def __init__(self, registry: PrefixRegistry, network: Network, node: str) -> None:
        self._registry = registry
        self._network = network
        self._node = node

    async def join(self, record: ReplicaRecord) -> Membership:
        return await self._call(lambda: self._registry.join(record))

    async def renew(self, membership: Membership, *, draining: bool) -> bool:
        return await self._call(lambda: self._registry.renew(membership, draining=draining))

    async def publish(self, membership: Membership, batch: BlockBatch) -> bool:
        return await self._call(lambda: self._registry.publish(membership, batch))

    async def leave(self, membership: Membership) -> None:
        await self._call(lambda: self._registry.leave(membership))

    async def members(self) -> tuple[Member, ...]:
        return await self._call(self._registry.members)

    async def locate(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int]:
        return await self._call(lambda: self._registry.locate(hashes))

    async def lead(self, candidate: str, address: str) -> int | None:
        return await self._call(lambda: self._registry.lead(candidate, address))

    async def resign(self, candidate: str) -> None:
        await self._call(lambda: self._registry.resign(candidate))

    async def leader(self) -> Leader | None:
        return await self._call(self._registry.leader)

    async def keep_policy(self, term: int, knobs: Mapping[str, str]) -> bool:
        return await self._call(lambda: self._registry.keep_policy(term, knobs))

    async def policy(self) -> Mapping[str, str]:
        return await self._call(self._registry.policy)

    async def _call(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        spent_s = await self._travel(0.0)
        answer = await call()
        await self._travel(spent_s)
        return answer

    async def _travel(self, spent_s: float) -> float:
        """One way, after so long; how long it took in all. Raises RegistryUnavailable."""
        is_parted = self._network.is_parted(self._node, REDIS)
        takes_s = ANSWER_S_MAX if is_parted else self._network.lag_s(self._node, REDIS)
        if spent_s + takes_s >= ANSWER_S_MAX:
            await asyncio.sleep(ANSWER_S_MAX - spent_s)
            raise RegistryUnavailable("the simulated registry does not answer in time")
        if takes_s:
            await asyncio.sleep(takes_s)
        return spent_s + takes_s


class AnnouncementWay:
    """Announcer for one node."""

    def __init__(
        self, bulletin: Bulletin, registry: WatchedRegistry, network: Network, node: str
    ) -> None:
        self._announcer = MemoryAnnouncer(bulletin, node)
        self._registry = registry
        self._network = network
        self._node = node

    def announce(self, announcement: Announcement) -> None:
        self._send(lambda: self._announcer.announce(announcement))

    def listen(self, hear: Callable[[Announcement], None]) -> None:
        self._announcer.listen(lambda announcement: self._send(lambda: hear(announcement)))

    async def close(self) -> None:
        await self._announcer.close()

    def _send(self, arrive: Callable[[], None]) -> None:
        """One way, to the server or from it."""
        network, node = self._network, self._node
        if self._registry.is_down or network.is_parted(node, REDIS):
            return
        takes_s = network.delay_s + network.lag_s(node, REDIS) + self._registry.delay_s
        asyncio.get_running_loop().call_later(takes_s, arrive)
