"""A gateway's end of one link, as plain as it gets, and a replica to attach to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from grpc import aio

from protos import control_pb2, control_pb2_grpc
from protos.convert import claim_to_proto, request_to_proto, step_events_from_proto
from protos.identity import request_digest
from protos.messages import Delta, Handoff, Refusal, Request, Snapshot, StepEvents
from protos.moves import Claim
from protos.registry import ControlDirectory, RegistryWriter
from replicas.config import ReplicaConfig
from replicas.engine.engine import Engine
from replicas.serving.replica import Replica
from tests.unit.shell.counting import CARD, CONFIG, CountingExecutor, engine

WITHIN_S = 60.0  # on a machine that does much else
# A gateway that does not read is felt after 64 KiB, not after whatever gRPC measured.
SMALL_WINDOW = (("grpc.http2.bdp_probe", 0),)
AttachCall: TypeAlias = "aio.StreamStreamCall[control_pb2.GatewayMessage, control_pb2.StepEvents]"


class Gateway:
    """One attached stream. Reads only when asked to."""

    def __init__(self, channel: aio.Channel) -> None:
        stub = control_pb2_grpc.ReplicaDataStub(channel)  # type: ignore[no-untyped-call]
        self.call: AttachCall = stub.Attach()
        self._messages = aiter(self.call)
        self.messages: list[StepEvents] = []

    async def submit(self, *requests: Request) -> None:
        for request in requests:
            message = control_pb2.GatewayMessage(submit=request_to_proto(request))
            await self.call.write(message)

    async def cancel(self, request_id: str, choice: int = 0) -> None:
        cancel = control_pb2.Cancel(request_id=request_id, choice=choice)
        await self.call.write(control_pb2.GatewayMessage(cancel=cancel))

    async def adopt(self, asked: Request, *, choice: int = 0, next_index: int = 0) -> None:
        claim = Claim(asked.request_id, choice, request_digest(asked), next_index)
        await self.call.write(control_pb2.GatewayMessage(adopt=claim_to_proto(claim)))

    async def read(self) -> StepEvents:
        """The next message; StopAsyncIteration at the end of the stream."""
        message = await asyncio.wait_for(anext(self._messages), WITHIN_S)
        self.messages.append(step_events_from_proto(message))
        return self.messages[-1]

    async def read_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                await self.read()

    async def read_to_the_end(self) -> None:
        """Raises AioRpcError when the replica ended the stream with an error."""
        async with asyncio.timeout(WITHIN_S):
            try:
                while True:
                    await self.read()
            except StopAsyncIteration:
                return

    async def finished(self, *requests: Request) -> None:
        """Read until every choice of the requests has finished."""
        await self.read_until(
            lambda: all(
                len([d for d in self.deltas(r.request_id) if d.finish]) == r.choices
                for r in requests
            )
        )

    def deltas(self, request_id: str) -> list[Delta]:
        return [d for m in self.messages for d in m.deltas if d.request_id == request_id]

    def tokens(self, request_id: str, choice: int = 0, *, first_index: int = 0) -> list[int]:
        """What the choice got; no token is missing, none came twice."""
        tokens: list[int] = []
        for delta in self.deltas(request_id):
            if delta.choice == choice:
                assert delta.first_index == first_index + len(tokens)
                tokens += [token.token for token in delta.tokens]
        return tokens

    @property
    def refusals(self) -> list[Refusal]:
        return [refusal for message in self.messages for refusal in message.refusals]

    @property
    def handoffs(self) -> list[Handoff]:
        return [handoff for message in self.messages for handoff in message.handoffs]

    @property
    def snapshot(self) -> Snapshot:
        return self.messages[-1].snapshot


class Running:
    """A started replica that counts, and its parts."""

    def __init__(
        self,
        config: ReplicaConfig,
        registry: RegistryWriter | None,
        directory: ControlDirectory | None,
    ) -> None:
        self.engine: Engine = engine()
        self.executor = CountingExecutor()
        self.replica = Replica(config, self.engine, self.executor, CARD, registry, directory)
        self.address = ""

    @property
    def blocks_used(self) -> int:
        return self.replica.snapshot().blocks_used

    @property
    def sequences(self) -> int:
        snapshot = self.replica.snapshot()
        return snapshot.sequences_running + snapshot.sequences_waiting

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[Gateway]:
        """A link that has read its first message."""
        async with aio.insecure_channel(self.address, options=SMALL_WINDOW) as channel:
            gateway = Gateway(channel)
            await gateway.read()
            yield gateway
            gateway.call.cancel()


@asynccontextmanager
async def running(
    config: ReplicaConfig = CONFIG,
    registry: RegistryWriter | None = None,
    directory: ControlDirectory | None = None,
) -> AsyncIterator[Running]:
    started = Running(config, registry, directory)
    started.address = await started.replica.start()
    try:
        yield started
    finally:
        started.executor.release()
        await started.replica.stop(0)
