"""A way between two replicas that a test can cut: it stands where the target is believed to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import grpc
from grpc import aio

from protos import control_pb2, control_pb2_grpc
from protos.moves import Peer

Context: TypeAlias = "aio.ServicerContext[control_pb2.ToTarget, control_pb2.ToSource]"


ANSWERS = {"reserve": "reserved", "blocks": "written", "commit": "committed"}


class Way(control_pb2_grpc.ReplicaPeerServicer):
    """Hands on what it is told, until the message `cut_at` (a field of ToTarget) has gone through.

    The target's answer to that message does not reach the source: its stream
    breaks then, or, if the way `hangs`, nothing comes back any more.
    """

    def __init__(self, target: Peer, *, cut_at: str, hangs: bool) -> None:
        self._target = target
        self._cut_at = cut_at
        self._hangs = hangs
        self.peer = target
        self.is_cut = False

    async def Migrate(
        self, request_iterator: AsyncIterator[control_pb2.ToTarget], context: Context
    ) -> None:
        async with aio.insecure_channel(self._target.address) as channel:
            call = control_pb2_grpc.ReplicaPeerStub(channel).Migrate()  # type: ignore[no-untyped-call]
            answering = asyncio.create_task(self._answer(call, context))
            async for message in request_iterator:
                if message.WhichOneof("message") == self._cut_at:
                    self.is_cut = True
                await call.write(message)
                if self.is_cut and not self._hangs:
                    break
            if self._hangs:
                await call.done_writing()
            await asyncio.wait([answering])
        await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")

    async def _answer(self, call: AsyncIterator[control_pb2.ToSource], context: Context) -> None:
        async for message in call:
            if not self.is_cut:
                await context.write(message)
            elif message.WhichOneof("message") == ANSWERS[self._cut_at] and not self._hangs:
                return


@asynccontextmanager
async def way(target: Peer, *, cut_at: str, hangs: bool = False) -> AsyncIterator[Way]:
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    cut = Way(target, cut_at=cut_at, hangs=hangs)
    control_pb2_grpc.add_ReplicaPeerServicer_to_server(cut, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    cut.peer = replace(target, address=f"127.0.0.1:{port}")
    await server.start()
    try:
        yield cut
    finally:
        await server.stop(0)
