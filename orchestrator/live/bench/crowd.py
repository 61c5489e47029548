"""A registry as full as a cluster's, and a view of replicas that are alive and busy.

A crowd of replicas on paper joins a real server and publishes a million blocks
the way replicas do. Of the prompts that will be asked for a third is unknown, a
third shares its beginning with what every replica holds, and a third is held by
one replica down to its last block; all other blocks are names of nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.journey import prefix_hashes
from orchestrator.live.clock import OsClock
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys
from orchestrator.registry.redis import RedisRegistry
from orchestrator.registry.redis_server import RedisServer
from protos.hashing import BlockHash
from protos.messages import (
    EngineCounters,
    ModelCard,
    ReplicaId,
    Request,
    RequestId,
    SamplingParams,
    Snapshot,
)
from protos.registry import BlockBatch, Member, Membership, ReplicaRecord

CARD = ModelCard(
    name="bench",
    revision="r1",
    dtype="bfloat16",
    block_size=16,
    context_tokens_max=131_072,
    vocab_size=128_000,
)
HOUR_MS = 3_600_000
PROMPTS = 60  # different ones of each length
COMMON_BLOCKS = 24  # of the beginning that a third of them shares
BATCH_BLOCKS = 20_000
POOL_BLOCKS = 500_000  # of each replica: none is ever short


class Crowd:
    """Replicas, what they hold, and who looks at them. Everything is one process's own."""

    def __init__(self, url: str, replicas: int) -> None:
        # Beside whatever else is on a server that was given.
        config = RegistryConfig(prefix=f"bench-{os.getpid()}:", lease_ms=HOUR_MS)
        self.server = RedisServer.at(url, config)
        self.registry = RedisRegistry(self.server, config)
        self.cluster = Cluster(ClusterConfig())
        self.clock = OsClock()
        self.replicas = replicas
        self.blocks = 0
        self._keys = Keys(config.prefix)
        self._random = Random(replicas)
        self._memberships: list[Membership] = []
        self._prompts: dict[int, list[tuple[int, ...]]] = {}
        self._reports = 0

    async def close(self) -> None:
        await self.registry.close()

    async def gather(
        self, *, blocks: int, prompt_tokens: tuple[int, ...], progress: Callable[[str], None]
    ) -> None:
        """Join, publish so many blocks in all, and report."""
        self._prompts = {tokens: self._make_prompts(tokens) for tokens in prompt_tokens}
        members = []
        for number in range(self.replicas):
            name = ReplicaId(f"replica-{number:03}")
            record = ReplicaRecord(name, f"{name}:1", CARD, POOL_BLOCKS)
            membership = await self.registry.join(record)
            self._memberships.append(membership)
            members.append(Member(record, membership.epoch, draining=False))
            await self._publish(number, blocks // self.replicas)
            if self.blocks * 4 // blocks > (self.blocks - blocks // self.replicas) * 4 // blocks:
                progress(f"{number + 1} replicas, {self.blocks} blocks in the registry")
        self.cluster.observe_members(members)
        for _ in members:
            self.report()

    async def scatter(self) -> None:
        """Leave the server as it was found."""
        for membership in self._memberships:
            await self.registry.leave(membership)

    def request(self, prompt_tokens: int, number: int) -> Request:
        """One of those whose prompts have this length, in turn."""
        prompts = self._prompts[prompt_tokens]
        sampling = SamplingParams(tokens_max=128)
        return Request(RequestId(f"bench-{number}"), prompts[number % len(prompts)], sampling)

    def keys(self, hashes: tuple[BlockHash, ...]) -> list[bytes]:
        """Where the server has these blocks."""
        return [self._keys.block(each) for each in hashes]

    def report(self) -> None:
        """The next replica in turn says how full it is; they are alive as long as they do."""
        number, place = divmod(self._reports, self.replicas)
        self._reports += 1
        membership = self._memberships[place]
        used = self._random.randrange(POOL_BLOCKS // 2)
        shown = Snapshot(
            replica_id=membership.replica_id,
            epoch=membership.epoch,
            number=number,
            blocks_total=POOL_BLOCKS,
            blocks_free=POOL_BLOCKS - used,
            blocks_cached=0,
            blocks_used=used,
            sequences_running=self._random.randrange(64),
            sequences_waiting=0,
            prefill_tokens_waiting=self._random.randrange(4_000),
            blocks_waiting=0,
            draining=False,
            step_ns=20_000_000,
            counters=EngineCounters(requests_finished=100 + number, decode_tokens=20_000),
        )
        self.cluster.observe_report(shown, self.clock.now_ns())

    def _make_prompts(self, tokens: int) -> list[tuple[int, ...]]:
        """Two thirds of them with a beginning in common."""
        common = self._tokens(min(COMMON_BLOCKS * CARD.block_size, tokens))
        return [
            common + self._tokens(tokens - len(common)) if place % 3 else self._tokens(tokens)
            for place in range(PROMPTS)
        ]

    def _tokens(self, count: int) -> tuple[int, ...]:
        return tuple(self._random.choices(range(CARD.vocab_size), k=count))

    async def _publish(self, number: int, count: int) -> None:
        held = self._known_blocks(number)
        held += [BlockHash(self._random.randbytes(16)) for _ in range(count - len(held))]
        for batch, start in enumerate(range(0, len(held), BATCH_BLOCKS)):
            stored = tuple(held[start : start + BATCH_BLOCKS])
            await self.registry.publish(self._memberships[number], BlockBatch(batch, stored))
        self.blocks += len(held)

    def _known_blocks(self, number: int) -> list[BlockHash]:
        """The common beginnings, and the whole prompts that this replica alone holds."""
        held: dict[BlockHash, None] = {}
        for tokens, prompts in self._prompts.items():
            for place in range(len(prompts)):
                hashes = prefix_hashes(self.request(tokens, place), CARD)
                if place % 3 == 2 and place // 3 % self.replicas == number:
                    held.update(dict.fromkeys(hashes))
                elif place % 3:
                    held.update(dict.fromkeys(hashes[:COMMON_BLOCKS]))
        return list(held)
