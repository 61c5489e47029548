"""Replicas that compute nothing: a process that streams made-up tokens over real gRPC.

    python -m orchestrator.live.bench.paper_replicas REDIS_URL REPLICAS STEP_MS CARD

To a gateway they are like any others: they hold leases, publish the blocks of
the prompts that they were given, report, and say one token of every running
sequence with each step, all of a link's in one message. A link that was idle
takes its next step at once. The process ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import TypeAlias

from grpc import aio

from orchestrator.gateway.journey import prefix_hashes
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry
from protos import control_pb2, control_pb2_grpc
from protos.convert import request_from_proto, step_events_to_proto
from protos.hashing import BlockHash
from protos.messages import (
    Account,
    Delta,
    EngineCounters,
    FinishReason,
    ModelCard,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    Snapshot,
    StepEvents,
)
from protos.registry import BlockBatch, Membership, ReplicaRecord

Context: TypeAlias = "aio.ServicerContext[control_pb2.GatewayMessage, control_pb2.StepEvents]"

BLOCKS = 1_000_000  # of each: room for everybody
REPORT_S = 0.2
PUBLISH_S = 0.1
# Ordinary words of any byte-level vocabulary: the first ones are bytes and special tokens.
FIRST_WORD, WORDS = 300, 8_000
NOTHING = Account(queue_ns=0, prefill_ns=0, decode_ns=0, chunks=1, preemptions=0)


@dataclass(slots=True)
class Running:
    """One request, and the index of the token it is due."""

    request: Request
    next_index: int = 0

    def step(self) -> Delta:
        index, tokens_max = self.next_index, self.request.sampling.tokens_max
        self.next_index += 1
        is_last = self.next_index >= tokens_max
        return Delta(
            request_id=self.request.request_id,
            choice=0,
            first_index=index,
            tokens=(SampledToken(FIRST_WORD + index * 17 % WORDS),),
            finish=FinishReason.LENGTH if is_last else None,
            account=NOTHING if is_last or index == 0 else None,
        )


@dataclass(slots=True)
class Link:
    """What one gateway has running here."""

    running: dict[RequestId, Running] = field(default_factory=dict)
    has_work: asyncio.Event = field(default_factory=asyncio.Event)

    def submit(self, request: Request) -> None:
        self.running[request.request_id] = Running(request)
        self.has_work.set()

    def step(self) -> tuple[Delta, ...]:
        deltas = tuple(each.step() for each in self.running.values())
        for delta in deltas:
            if delta.finish is not None:
                del self.running[delta.request_id]
        if not self.running:
            self.has_work.clear()
        return deltas


class PaperReplica(control_pb2_grpc.ReplicaDataServicer):
    """One replica, for any number of gateways."""

    def __init__(self, name: str, card: ModelCard, registry: RedisRegistry, step_s: float) -> None:
        self._name = ReplicaId(name)
        self._card = card
        self._registry = registry
        self._step_s = step_s
        self._reports = 0
        self._membership: Membership | None = None
        self._unpublished: dict[BlockHash, None] = {}

    async def Attach(
        self, request_iterator: AsyncIterator[control_pb2.GatewayMessage], context: Context
    ) -> None:
        link = Link()
        writing = asyncio.create_task(self._write(link, context))
        try:
            async for message in request_iterator:
                match message.WhichOneof("message"):
                    case "submit":
                        request = request_from_proto(message.submit)
                        self._unpublished |= dict.fromkeys(prefix_hashes(request, self._card))
                        link.submit(request)
                    case "cancel":
                        link.running.pop(RequestId(message.cancel.request_id), None)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _write(self, link: Link, context: Context) -> None:
        while True:
            events = StepEvents(link.step(), (), self._report(link))
            await context.write(step_events_to_proto(events))
            if link.running:
                await asyncio.sleep(self._step_s)
                continue
            try:
                async with asyncio.timeout(REPORT_S):
                    await link.has_work.wait()
            except TimeoutError:
                continue

    def _report(self, link: Link) -> Snapshot:
        self._reports += 1
        return Snapshot(
            replica_id=self._name,
            epoch=0 if self._membership is None else self._membership.epoch,
            number=self._reports,
            blocks_total=BLOCKS,
            blocks_free=BLOCKS,
            blocks_cached=0,
            blocks_used=0,
            sequences_running=len(link.running),
            sequences_waiting=0,
            prefill_tokens_waiting=0,
            blocks_waiting=0,
            draining=False,
            step_ns=int(self._step_s * 1e9),
            counters=EngineCounters(requests_finished=1, decode_tokens=128),
        )

    async def join(self, address: str) -> None:
        """Be listed; then publish and renew until cancelled."""
        record = ReplicaRecord(self._name, address, self._card, BLOCKS)
        self._membership = await self._registry.join(record)
        number = 0
        while True:
            blocks, self._unpublished = self._unpublished, {}
            await self._registry.publish(self._membership, BlockBatch(number, tuple(blocks)))
            await self._registry.renew(self._membership, draining=False)
            number += 1
            await asyncio.sleep(PUBLISH_S)


async def serve(url: str, replicas: int, step_s: float, card: ModelCard) -> None:
    """Print the addresses, then serve until standard input ends."""
    registry = RedisRegistry.connect(url, RegistryConfig())
    server_of: list[aio.Server] = []
    joined: list[asyncio.Task[None]] = []
    addresses = []
    for number in range(replicas):
        server = aio.server(options=(("grpc.so_reuseport", 0),))
        replica = PaperReplica(f"paper-{number}", card, registry, step_s)
        control_pb2_grpc.add_ReplicaDataServicer_to_server(  # type: ignore[no-untyped-call]
            replica, server
        )
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        server_of.append(server)
        joined.append(asyncio.create_task(replica.join(address)))
        addresses.append(address)
    print(json.dumps(addresses), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in joined:
        task.cancel()
    await asyncio.gather(*joined, return_exceptions=True)
    await asyncio.gather(*(server.stop(None) for server in server_of))
    await registry.close()


def card_in_words(card: ModelCard) -> str:
    """As the command line has it."""
    return json.dumps(asdict(card))


if __name__ == "__main__":
    redis_url, count, step_ms, words = sys.argv[1:]
    asyncio.run(serve(redis_url, int(count), int(step_ms) / 1000, ModelCard(**json.loads(words))))
