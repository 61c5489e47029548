"""A way between two replicas that sees what passes, and does something when a message has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import grpc
from grpc import aio

from protos import control_pb2, control_pb2_grpc
from protos.moves import Peer

Context: TypeAlias = "aio.ServicerContext[control_pb2.ToTarget, control_pb2.ToSource]"
Call: TypeAlias = "aio.StreamStreamCall[control_pb2.ToTarget, control_pb2.ToSource]"


class Relay(control_pb2_grpc.ReplicaPeerServicer):
    """Stands where the target is believed to be, and hands everything on, both ways.

    Right after the first message of the kind `at` (a field of ToTarget or
    ToSource) it strikes. The end of either side is the end of the other.
    """

    def __init__(self, target: Peer, *, at: str, strike: Callable[[], None]) -> None:
        self._target = target
        self._at = at
        self._strike = strike
        self.peer = target
        self.has_struck = False

    async def Migrate(
        self, request_iterator: AsyncIterator[control_pb2.ToTarget], context: Context
    ) -> None:
        async with aio.insecure_channel(self._target.address) as channel:
            call: Call = control_pb2_grpc.ReplicaPeerStub(channel).Migrate()  # type: ignore[no-untyped-call]
            ways = [
                asyncio.create_task(self._there(request_iterator, call)),
                asyncio.create_task(self._back(call, context)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in ways:
                    each.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the other side has ended it")

    async def _there(self, messages: AsyncIterator[control_pb2.ToTarget], call: Call) -> None:
        async for message in messages:
            await call.write(message)
            self._passed(message.WhichOneof("message"))

    async def _back(self, call: Call, context: Context) -> None:
        async for message in call:
            await context.write(message)
            self._passed(message.WhichOneof("message"))

    def _passed(self, kind: str | None) -> None:
        if kind == self._at and not self.has_struck:
            self.has_struck = True
            self._strike()


@asynccontextmanager
async def relay(target: Peer, *, at: str, strike: Callable[[], None]) -> AsyncIterator[Relay]:
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    made = Relay(target, at=at, strike=strike)
    control_pb2_grpc.add_ReplicaPeerServicer_to_server(made, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    made.peer = replace(target, address=f"127.0.0.1:{port}")
    await server.start()
    try:
        yield made
    finally:
        await server.stop(0)
