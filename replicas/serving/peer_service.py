"""ReplicaPeer over gRPC: moves that arrive, hot blocks for who has none, and blocks by name.

One stream is one move; its end, or its source's death, is the move's end. A
source that is not read fast enough is held up by gRPC's own flow control; who
asks for a copy and then reads nothing of it loses his place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TypeAlias

import grpc
from grpc import aio

from protos import control_pb2, control_pb2_grpc
from protos.convert import card_from_proto
from protos.convert_moves import (
    copy_ask_from_proto,
    copy_chunk_to_proto,
    to_source_to_proto,
    to_target_from_proto,
)
from protos.moves import ToSource, ToTarget
from replicas.shell.moves.channel import PeerDeclined, PeerLost
from replicas.shell.moves.giving import Giving
from replicas.shell.moves.mover import Mover
from replicas.shell.moves.spreading import OtherCard, Spreading

MigrateContext: TypeAlias = "aio.ServicerContext[control_pb2.ToTarget, control_pb2.ToSource]"
CopyContext: TypeAlias = "aio.ServicerContext[control_pb2.CopyAsk, control_pb2.CopyChunk]"
WarmContext: TypeAlias = "aio.ServicerContext[control_pb2.WarmRequest, control_pb2.WarmBlocks]"


class PeerService(control_pb2_grpc.ReplicaPeerServicer):
    """What one replica does for others."""

    def __init__(self, mover: Mover, spreading: Spreading, giving: Giving) -> None:
        self._mover = mover
        self._spreading = spreading
        self._giving = giving

    async def Migrate(
        self, request_iterator: AsyncIterator[control_pb2.ToTarget], context: MigrateContext
    ) -> None:
        await self._mover.receive(MigrateArrival(context))

    async def Copy(self, request: control_pb2.CopyAsk, context: CopyContext) -> None:
        try:
            async with aclosing(self._giving.give(copy_ask_from_proto(request))) as chunks:
                async for chunk in chunks:
                    async with asyncio.timeout(self._giving.unread_s):
                        await context.write(copy_chunk_to_proto(chunk))
        except PeerDeclined as declined:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(declined))
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "nobody reads what is given")

    async def Warm(
        self, request: control_pb2.WarmRequest, context: WarmContext
    ) -> AsyncIterator[control_pb2.WarmBlocks]:
        chunks = self._spreading.give(card_from_proto(request.card), request.blocks_max)
        try:
            async for chunk in chunks:
                yield control_pb2.WarmBlocks(
                    blocks=[
                        control_pb2.WarmBlock(
                            parent=each.parent,
                            index=each.index,
                            tokens=each.tokens,
                            payload=each.payload,
                        )
                        for each in chunk
                    ]
                )
        except OtherCard as other:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(other))
        except PeerLost as lost:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(lost))
        finally:
            await chunks.aclose()


class MigrateArrival:
    """The target's end of one move."""

    def __init__(self, context: MigrateContext) -> None:
        self._context = context

    async def send(self, message: ToSource) -> None:
        try:
            await self._context.write(to_source_to_proto(message))
        except (grpc.RpcError, aio.UsageError) as error:
            raise PeerLost(str(error)) from None

    async def receive(self) -> ToTarget:
        try:
            message = await self._context.read()
        except (grpc.RpcError, aio.UsageError) as error:
            raise PeerLost(str(error)) from None
        if isinstance(message, control_pb2.ToTarget):
            try:
                return to_target_from_proto(message)
            except ValueError as error:
                raise PeerLost(f"the source speaks another language: {error}") from None
        raise PeerLost("the source has ended the move")

    async def close(self) -> None:
        """The handler's return ends the stream."""
