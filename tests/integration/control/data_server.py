"""A small real ReplicaData server on loopback, scripted by the test.

It speaks the protocol and nothing more: a request of n tokens gets its
deltas when the test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

from grpc import aio

from protos import control_pb2, control_pb2_grpc
from protos.convert import claim_from_proto, request_from_proto, step_events_to_proto
from protos.messages import (
    Delta,
    FinishReason,
    Handoff,
    Refusal,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    SamplingParams,
    Snapshot,
    StepEvents,
)
from protos.moves import Claim
from protos.registry import ReplicaRecord
from tests.unit.control.reports import CARD, report

Context: TypeAlias = "aio.ServicerContext[control_pb2.GatewayMessage, control_pb2.StepEvents]"


class DataServer(control_pb2_grpc.ReplicaDataServicer):
    """One attached gateway at a time; what it sends is kept for the test to look at."""

    def __init__(self) -> None:
        self.submitted: list[Request] = []
        self.claimed: list[Claim] = []
        self.cancelled: list[tuple[RequestId, int]] = []
        self.attached = 0
        self.reports_interval_s = 0.05
        self.reads = asyncio.Event()  # what it is sent, once this is set
        self.reads.set()
        self.address = ""
        self._number = 0
        self._outbox: asyncio.Queue[StepEvents] = asyncio.Queue()
        self._ended = asyncio.Event()

    @property
    def record(self) -> ReplicaRecord:
        return ReplicaRecord(ReplicaId("a"), self.address, CARD, blocks_total=100)

    def send(
        self,
        *deltas: Delta,
        refusals: tuple[Refusal, ...] = (),
        handoffs: tuple[Handoff, ...] = (),
    ) -> None:
        self._outbox.put_nowait(StepEvents(deltas, refusals, self._report(), handoffs))

    def end_stream(self) -> None:
        self._ended.set()

    def _report(self) -> Snapshot:
        self._number += 1
        return report(number=self._number)

    async def Attach(
        self, request_iterator: AsyncIterator[control_pb2.GatewayMessage], context: Context
    ) -> None:
        self.attached += 1
        self._ended = asyncio.Event()
        self._outbox = asyncio.Queue()
        self.send()
        reader = asyncio.create_task(self._read(request_iterator))
        writer = asyncio.create_task(self._write(context))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait((reader, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reader, writer, ended):
                task.cancel()
            await asyncio.gather(reader, writer, ended, return_exceptions=True)

    async def _read(self, messages: AsyncIterator[control_pb2.GatewayMessage]) -> None:
        await self.reads.wait()
        async for message in messages:
            match message.WhichOneof("message"):
                case "submit":
                    self.submitted.append(request_from_proto(message.submit))
                case "adopt":
                    self.claimed.append(claim_from_proto(message.adopt))
                case "cancel":
                    named = (RequestId(message.cancel.request_id), message.cancel.choice)
                    self.cancelled.append(named)

    async def _write(self, context: Context) -> None:
        while True:
            try:
                async with asyncio.timeout(self.reports_interval_s):
                    events = await self._outbox.get()
            except TimeoutError:
                events = StepEvents((), (), self._report())
            await context.write(step_events_to_proto(events))


@asynccontextmanager
async def serving(server: DataServer, port: int = 0) -> AsyncIterator[DataServer]:
    grpc_server = aio.server(options=(("grpc.so_reuseport", 0),))
    control_pb2_grpc.add_ReplicaDataServicer_to_server(  # type: ignore[no-untyped-call]
        server, grpc_server
    )
    bound = grpc_server.add_insecure_port(f"127.0.0.1:{port}")
    server.address = f"127.0.0.1:{bound}"
    await grpc_server.start()
    try:
        yield server
    finally:
        await grpc_server.stop(None)


def request(
    name: str, tokens_max: int = 3, choices: int = 1, prompt: tuple[int, ...] = (1, 2, 3)
) -> Request:
    return Request(RequestId(name), prompt, SamplingParams(tokens_max=tokens_max), choices)


def delta(name: str, index: int, *, choice: int = 0, last: bool = False) -> Delta:
    finish = FinishReason.LENGTH if last else None
    return Delta(RequestId(name), choice, index, (SampledToken(index),), finish)
