"""Copies over gRPC whose ends misbehave: too large, silent, of another version, killed or hung."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest
from grpc import aio

from protos import control_pb2_grpc
from protos.convert_moves import copy_ask_to_proto
from protos.hashing import BlockHash
from protos.messages import CopySource, ModelCard, ReplicaId
from protos.moves import CopyAsk, CopyChunk, CopyOutcome
from protos.transport import Transport
from replicas.serving.peer_client import GrpcPeers
from replicas.serving.peer_service import PeerService
from replicas.serving.server import MESSAGE_BYTES_MAX, message_bytes_for, server_options
from replicas.shell.moves.channel import PeerDeclined, PeerLost
from replicas.shell.moves.checksum import checksum
from replicas.shell.moves.giving import Giving
from replicas.shell.moves.mover import Mover
from replicas.shell.moves.spreading import Spreading
from tests.integration.copies.test_copies import PROMPT, from_, ready
from tests.integration.moves.child import child
from tests.integration.moves.follower import Follower
from tests.integration.moves.members import member
from tests.integration.moves.test_moves import ask, assert_empty, assert_same
from tests.unit.shell.eventually import eventually

CARD = ModelCard("any", "1", "float32", 16, 1024, 256)
ASK = CopyAsk(CARD, BlockHash(b"r" * 16), (BlockHash(b"b" * 16),), tuple(range(16)), 0)
LARGE = 20 << 20  # of a block: 128 tokens of an 8B model have as much


class EndlessGiving:
    """Gives blocks of one size for ever, to whoever reads."""

    def __init__(self, block_bytes: int, *, unread_s: float = 60.0) -> None:
        self.unread_s = unread_s
        self._payload = bytes(block_bytes)
        self.under_way = 0
        self.places = 8

    async def give(self, ask: CopyAsk) -> AsyncGenerator[CopyChunk, None]:
        if self.under_way >= self.places:
            raise PeerDeclined("no place is left")
        self.under_way += 1
        try:
            while True:
                yield CopyChunk(ask.first, (self._payload,), checksum((self._payload,)))
        finally:
            self.under_way -= 1


@asynccontextmanager
async def served(
    servicer: control_pb2_grpc.ReplicaPeerServicer, message_bytes_max: int
) -> AsyncIterator[CopySource]:
    server = aio.server(options=server_options(message_bytes_max))
    control_pb2_grpc.add_ReplicaPeerServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield CopySource(ReplicaId("a"), f"127.0.0.1:{port}", 1)
    finally:
        await server.stop(0)


def service(giving: EndlessGiving) -> PeerService:
    """Which only gives."""
    return PeerService(cast(Mover, None), cast(Spreading, None), cast(Giving, giving))


async def first(source: CopySource, message_bytes_max: int) -> CopyChunk:
    chunks = GrpcPeers(Transport(), message_bytes_max).copy(source, ASK)
    try:
        return await anext(chunks)
    finally:
        await chunks.aclose()


async def test_a_block_that_is_larger_than_other_messages_may_be_is_copied() -> None:
    giving, limit = EndlessGiving(LARGE), message_bytes_for(LARGE)
    async with served(service(giving), limit) as source:
        assert len((await first(source, limit)).payloads[0]) == LARGE
        with pytest.raises(PeerLost):
            await first(source, MESSAGE_BYTES_MAX)
    assert message_bytes_for(1) == MESSAGE_BYTES_MAX


async def test_whoever_reads_nothing_of_a_copy_loses_his_place() -> None:
    giving = EndlessGiving(1 << 20, unread_s=0.2)
    async with (
        served(service(giving), MESSAGE_BYTES_MAX) as source,
        aio.insecure_channel(source.address) as channel,
    ):
        stub = control_pb2_grpc.ReplicaPeerStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Copy(copy_ask_to_proto(ASK))
        await eventually(lambda: giving.under_way == 1, "it is being given")
        await eventually(lambda: giving.under_way == 0, "his place is free")
        call.cancel()


async def test_a_source_that_has_no_place_left_declines() -> None:
    giving = EndlessGiving(1)
    giving.places = 1
    async with served(service(giving), MESSAGE_BYTES_MAX) as source:
        chunks = GrpcPeers(Transport()).copy(source, ASK)
        await anext(chunks)
        with pytest.raises(PeerDeclined, match="no place"):
            await first(source, MESSAGE_BYTES_MAX)
        await chunks.aclose()
        await eventually(lambda: giving.under_way == 0, "its place is free")
        assert await first(source, MESSAGE_BYTES_MAX)


async def test_a_source_of_a_version_without_copies_is_lost_and_no_error() -> None:
    without = control_pb2_grpc.ReplicaPeerServicer()
    async with served(without, MESSAGE_BYTES_MAX) as source:
        with pytest.raises(PeerLost, match="UNIMPLEMENTED"):
            await first(source, MESSAGE_BYTES_MAX)


@pytest.mark.parametrize(
    ("strike", "outcome", "start_ms"),
    # A copy is late after four times what it should take to start: not before its source is lost.
    [(signal.SIGKILL, CopyOutcome.LOST, 5_000), (signal.SIGSTOP, CopyOutcome.LATE, 1_000)],
)
async def test_a_source_that_dies_or_hangs_in_the_midst_of_a_copy_costs_no_token(
    strike: signal.Signals, outcome: CopyOutcome, start_ms: int
) -> None:
    async with (
        child("a", copy_bytes_per_s=1) as a,  # so the first block is followed by a long pause
        member("b", copy_start_ms=start_ms) as b,
        Follower().attached(a, b) as follower,
    ):
        follower.mortal = a.peer.replica_id
        await ready(b)
        asked = replace(ask("any", prompt_tokens=PROMPT), salt=b"copied")
        await follower.submit(asked, a)
        there = await follower.finished(asked)
        copied = from_(a, asked, "copied")
        copying = b.replica._copying
        await follower.submit(copied, b)
        await eventually(lambda: copying.totals.blocks == 1, "one block has come")
        a.send_signal(strike)
        assert_same(await follower.finished(copied), there)
        assert dict(b.replica.snapshot().copies.ended) == {outcome.value: 1}
        assert b.replica.snapshot().counters.copied_tokens == 16
        await assert_empty(b)
