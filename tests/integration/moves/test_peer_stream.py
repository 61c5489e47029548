"""The source's end of a move over gRPC: what it says last is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest
from grpc import aio

from protos import control_pb2, control_pb2_grpc
from protos.convert_moves import to_target_from_proto
from protos.moves import Abort, MoveId, ToTarget
from replicas.serving import peer_client
from replicas.serving.peer_client import MigrateStream

Context: TypeAlias = "aio.ServicerContext[control_pb2.ToTarget, control_pb2.ToSource]"


class SilentTarget(control_pb2_grpc.ReplicaPeerServicer):
    """Hears everything, answers nothing."""

    def __init__(self) -> None:
        self.heard: list[ToTarget] = []
        self.has_ended_in_order = False

    async def Migrate(
        self, request_iterator: AsyncIterator[control_pb2.ToTarget], context: Context
    ) -> None:
        async for message in request_iterator:
            self.heard.append(to_target_from_proto(message))
        self.has_ended_in_order = True


@asynccontextmanager
async def stream() -> AsyncIterator[tuple[SilentTarget, MigrateStream]]:
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    target = SilentTarget()
    control_pb2_grpc.add_ReplicaPeerServicer_to_server(target, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield target, MigrateStream(aio.insecure_channel(f"127.0.0.1:{port}"))
    finally:
        await server.stop(0)


async def test_a_source_that_waited_in_vain_can_still_abort_and_is_heard_before_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_client, "CLOSE_S", 60.0)  # this target hangs on a slow machine only
    abort = Abort(MoveId("m"))
    async with stream() as (target, source):
        await source.send(abort)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await source.receive()
        await source.send(abort)
        await source.close()
        assert target.heard == [abort, abort]
        assert target.has_ended_in_order
