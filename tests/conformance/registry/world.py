"""The two worlds that the registry's contract is checked in, and small data for both.

A world hands out registries (each as another process would have it) and can
let leases end without waiting: in memory by moving its clock, on Redis by
deleting the lease keys, which is all that a reader sees of an expiry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import uuid4

from redis.asyncio import Redis

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys
from orchestrator.registry.memory import MemoryRegistry
from orchestrator.registry.memory_announcer import Bulletin, MemoryAnnouncer
from orchestrator.registry.redis import RedisRegistry
from orchestrator.registry.redis_announcer import RedisAnnouncer
from protos.hashing import BlockHash, block_hashes, scope_hash
from protos.messages import ModelCard, ReplicaId
from protos.registry import Announcer, Membership, PrefixRegistry, ReplicaRecord
from tests.conformance.registry.users import User, as_user

SLOTS_MAX = 12
CARD = ModelCard("tiny", "r1", "float32", block_size=4, context_tokens_max=4096, vocab_size=256)


class World(Protocol):
    """A registry and the passing of time."""

    def registry(self) -> PrefixRegistry:
        """The registry as one more process sees it."""
        ...

    def announcer(self) -> Announcer:
        """The gateways' channel as one more gateway has it."""
        ...

    async def end_leases(self, *, keep: Sequence[Membership] = ()) -> None:
        """All leases end now, the control plane's too, but for the ones to keep."""
        ...

    async def close(self) -> None: ...


class MemoryWorld:
    """One MemoryRegistry under a clock that only `end_leases` moves."""

    def __init__(self) -> None:
        self._now_ns = 0
        self._config = RegistryConfig(slots_max=SLOTS_MAX)
        self._registry = MemoryRegistry(lambda: self._now_ns, self._config)
        self._bulletin = Bulletin()
        self._gateways = 0

    def registry(self) -> PrefixRegistry:
        return self._registry

    def announcer(self) -> Announcer:
        self._gateways += 1
        return MemoryAnnouncer(self._bulletin, f"gateway {self._gateways}")

    async def end_leases(self, *, keep: Sequence[Membership] = ()) -> None:
        await self._renew(keep)
        self._now_ns += self._config.lease_ms * 1_000_000 - 1
        await self._renew(keep)
        self._now_ns += 1

    async def _renew(self, memberships: Sequence[Membership]) -> None:
        members = await self._registry.members()
        draining = {member.record.replica_id: member.draining for member in members}
        for membership in memberships:
            assert await self._registry.renew(
                membership, draining=draining[membership.replica_id]
            ), "a lease ended before its time"

    async def close(self) -> None:
        pass


class RedisWorld:
    """A prefix of its own on a running server, which knows the two documented users."""

    def __init__(self, url: str) -> None:
        prefix = f"orch:test-{uuid4().hex}:"
        # Bounds far beyond a test's length: here nothing ends unless it is told to.
        self._config = RegistryConfig(
            prefix=prefix, slots_max=SLOTS_MAX, lease_ms=600_000, operation_ms=10_000
        )
        self._url = url
        self._keys = Keys(prefix)
        self._client = Redis.from_url(url)
        self._made: list[RedisRegistry | RedisAnnouncer] = []

    def registry(self) -> PrefixRegistry:
        registry = RedisRegistry.connect(as_user(self._url, User.REPLICA), self._config)
        self._made.append(registry)
        return registry

    def announcer(self) -> Announcer:
        announcer = RedisAnnouncer.connect(as_user(self._url, User.GATEWAY), self._config)
        self._made.append(announcer)
        return announcer

    async def end_leases(self, *, keep: Sequence[Membership] = ()) -> None:
        kept = {membership.slot for membership in keep}
        ended = [self._keys.lease(slot) for slot in range(SLOTS_MAX) if slot not in kept]
        await self._client.delete(self._keys.leader, *ended)

    async def close(self) -> None:
        for made in self._made:
            await made.close()
        await self._client.aclose()


def record(name: str) -> ReplicaRecord:
    """A replica to join."""
    return ReplicaRecord(ReplicaId(name), f"{name}.cluster:9000", CARD, blocks_total=64)


def chain(name: str, length: int, *, salt: bytes = b"") -> tuple[BlockHash, ...]:
    """A chain of blocks; another name is another prompt from its first block on."""
    tokens = [sum(name.encode()) % 256, *range(1, 4 * length)]
    return block_hashes(tokens[: 4 * length], block_size=4, root=scope_hash([name], salt))
