"""The way to other replicas over gRPC: the source's end of a move, and the taker's of blocks.

A channel of its own for each: moves are few, and its end is the end of all
that was on it. Whatever gRPC says went wrong is a lost peer here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TypeAlias

import grpc
from grpc import aio

from protos import control_pb2, control_pb2_grpc
from protos.convert import card_to_proto
from protos.convert_moves import (
    copy_ask_to_proto,
    copy_chunk_from_proto,
    to_source_from_proto,
    to_target_to_proto,
)
from protos.hashing import BlockHash
from protos.messages import CopySource, ModelCard
from protos.moves import CopyAsk, CopyChunk, Peer, ToSource, ToTarget
from protos.transport import Transport
from replicas.serving.server import MESSAGE_BYTES_MAX, channel_options
from replicas.shell.moves.channel import PeerDeclined, PeerLost, SourceEnd, WarmBlock

# For a target to read what was sent last. One that hangs is left to itself.
CLOSE_S = 0.5
MigrateCall: TypeAlias = "aio.StreamStreamCall[control_pb2.ToTarget, control_pb2.ToSource]"


class GrpcPeers:
    """`Peers` over gRPC."""

    def __init__(self, transport: Transport, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._transport = transport
        self._options = channel_options(message_bytes_max)

    def migrate(self, target: Peer) -> SourceEnd:
        return MigrateStream(self._transport.channel(target.address, self._options))

    async def warm(
        self, peer: Peer, card: ModelCard, blocks_max: int
    ) -> AsyncGenerator[tuple[WarmBlock, ...], None]:
        asked = control_pb2.WarmRequest(card=card_to_proto(card), blocks_max=blocks_max)
        async with self._transport.channel(peer.address, self._options) as channel:
            stub = control_pb2_grpc.ReplicaPeerStub(channel)  # type: ignore[no-untyped-call]
            try:
                async for message in stub.Warm(asked):
                    yield tuple(map(_warm_block, message.blocks))
            except aio.AioRpcError as error:
                raise PeerLost(_describe(error)) from None

    async def copy(self, source: CopySource, ask: CopyAsk) -> AsyncGenerator[CopyChunk, None]:
        async with self._transport.channel(source.address, self._options) as channel:
            stub = control_pb2_grpc.ReplicaPeerStub(channel)  # type: ignore[no-untyped-call]
            try:
                async for message in stub.Copy(copy_ask_to_proto(ask)):
                    yield copy_chunk_from_proto(message)
            except aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    raise PeerDeclined(_describe(error)) from None
                raise PeerLost(_describe(error)) from None


class MigrateStream:
    """The source's end of one move."""

    def __init__(self, channel: aio.Channel) -> None:
        """The channel is its own, and closed with it."""
        self._channel = channel
        self._call: MigrateCall | None = None
        self._reading: asyncio.Task[object] | None = None

    async def send(self, message: ToTarget) -> None:
        try:
            await self._stream().write(to_target_to_proto(message))
        except aio.AioRpcError as error:
            raise PeerLost(_describe(error)) from None
        except asyncio.InvalidStateError:  # a write met a stream that had just ended
            raise PeerLost("the target has ended the move") from None

    async def receive(self) -> ToSource:
        try:
            message = await self._next()
        except aio.AioRpcError as error:
            raise PeerLost(_describe(error)) from None
        if isinstance(message, control_pb2.ToSource):
            try:
                return to_source_from_proto(message)
            except ValueError as error:
                raise PeerLost(f"the target speaks another language: {error}") from None
        raise PeerLost("the target has ended the move")

    async def close(self) -> None:
        try:
            if self._call is not None and not self._call.done():
                await self._end_in_order(self._call)
        finally:
            if self._reading is not None:
                self._reading.cancel()
            await self._channel.close()

    async def _next(self) -> object:
        """What comes next, or EOF.

        The read outlives who waits for it: cancelled, it would cancel the call,
        and nothing could be said any more.
        """
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        await asyncio.wait((self._reading,))
        reading, self._reading = self._reading, None
        return reading.result()

    async def _read(self) -> object:
        return await self._stream().read()

    async def _end_in_order(self, call: MigrateCall) -> None:
        """Let the target read to the end: a cancelled call drops what is on its way."""
        with suppress(aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await call.done_writing()
                while await self._next() is not aio.EOF:
                    pass

    def _stream(self) -> MigrateCall:
        if self._call is None:
            stub = control_pb2_grpc.ReplicaPeerStub(self._channel)  # type: ignore[no-untyped-call]
            self._call = stub.Migrate()
        return self._call


def _warm_block(message: control_pb2.WarmBlock) -> WarmBlock:
    return WarmBlock(
        BlockHash(message.parent), message.index, tuple(message.tokens), message.payload
    )


def _describe(error: grpc.RpcError) -> str:
    return f"{error.code().name} {error.details()}" if isinstance(error, grpc.Call) else str(error)
