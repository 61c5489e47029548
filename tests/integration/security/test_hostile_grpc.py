"""Calls that want to hurt the gRPC door: each has a status, and holds nothing afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from orchestrator.gateway.body import BODY_BYTES_MAX
from orchestrator.gateway.keyring import Keyring, Keys
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.live.clock import OsClock
from orchestrator.registry.memory import MemoryRegistry
from protos import inference_pb2 as pb
from protos import inference_pb2_grpc
from tests.integration.gateway.conftest import Served, serving
from tests.integration.gateway.scripted import ScriptedReplica
from tests.unit.shell.eventually import eventually

UNBOUNDED = (("grpc.max_send_message_length", -1),)
SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024))
WITHIN_S = 60.0  # on a machine that does much else
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
GENERATE = "/blockyard.inference.v1.Inference/Generate"
LIST_MODELS = "/blockyard.inference.v1.Inference/ListModels"
HEALTH = "/grpc.health.v1.Health/Check"


def structured(**kind: str) -> pb.SamplingOptions:
    return pb.SamplingOptions(structure=pb.Structure(**kind))  # type: ignore[arg-type]


def conversation(*messages: pb.Message) -> pb.GenerateRequest:
    return pb.GenerateRequest(conversation=pb.Conversation(messages=messages))


@pytest.fixture
async def served(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> AsyncIterator[Served]:
    async with serving(tmp_path, replica, registry) as served:
        yield served


@pytest.fixture
async def stub(served: Served) -> AsyncIterator[inference_pb2_grpc.InferenceStub]:
    async with grpc.aio.insecure_channel(served.grpc_address, options=UNBOUNDED) as channel:
        yield inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]


async def status_of(
    stub: inference_pb2_grpc.InferenceStub,
    request: pb.GenerateRequest,
    compression: grpc.Compression = grpc.Compression.NoCompression,
) -> tuple[grpc.StatusCode, str]:
    """How the call ends, and what is said about it."""
    call = stub.Generate(request, timeout=WITHIN_S, compression=compression)
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


async def assert_serves(served: Served, stub: inference_pb2_grpc.InferenceStub) -> None:
    status, details = await status_of(stub, pb.GenerateRequest(text="a"))
    assert status is grpc.StatusCode.OK, details


async def test_whoever_reads_nothing_holds_no_replica(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.gateway.stall.STALL_S", 0.2)
    served.replica.answer = b"a" * 900
    sampling = pb.SamplingOptions(max_tokens=900, logprobs=20, n=4)
    async with grpc.aio.insecure_channel(served.grpc_address, options=SMALL_WINDOW) as channel:
        stub = inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Generate(pb.GenerateRequest(text="a", sampling=sampling))
        await eventually(lambda: served.replica.cancelled == 1, "the request has ended")
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            async for _ in call:
                pass
        assert ended.value.code() is grpc.StatusCode.CANCELLED
        assert ended.value.details() == "this client has stopped reading"
        monkeypatch.undo()
        await assert_serves(served, stub)


async def test_a_message_has_a_size(served: Served, stub: inference_pb2_grpc.InferenceStub) -> None:
    bomb = pb.GenerateRequest(text="a" * BODY_BYTES_MAX)
    status, details = await status_of(stub, bomb)
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED, details
    await assert_serves(served, stub)


async def test_a_message_has_that_size_when_it_is_unpacked(
    served: Served, stub: inference_pb2_grpc.InferenceStub
) -> None:
    bomb = pb.GenerateRequest(text="a" * (16 * BODY_BYTES_MAX))
    status, details = await status_of(stub, bomb, grpc.Compression.Gzip)
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "ecompressed" in details, "it got through, being small on the wire"
    await assert_serves(served, stub)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (pb.GenerateRequest(text="a", model="m" * 20_000), INVALID),
        (pb.GenerateRequest(text="a", model="\N{PILE OF POO}" * 20_000), INVALID),
        (pb.GenerateRequest(text="a", model="../../../../etc/passwd"), NOT_FOUND),
        (pb.GenerateRequest(text="a", request_id="r" * 20_000), INVALID),
        (pb.GenerateRequest(text="a", cache_salt="s" * 20_000), INVALID),
        (pb.GenerateRequest(text="a", tenant="t" * 20_000), INVALID),
        (pb.GenerateRequest(text="a", request_class="c" * 20_000), INVALID),
        (pb.GenerateRequest(text="a", resume_token="t" * 100_000, resumed_tokens=[1]), INVALID),
        (pb.GenerateRequest(text="a", sampling=structured(regex="(" * 20_000)), INVALID),
        (pb.GenerateRequest(text="a", sampling=structured(json_schema="[" * 60_000)), INVALID),
        (pb.GenerateRequest(text="a", sampling=structured(grammar="(" * 60_000)), INVALID),
        (pb.GenerateRequest(text="a", sampling=structured(regex="(((a{9}){9}){9}){9}" * 99)), None),
        (pb.GenerateRequest(token_ids=pb.TokenIds(ids=[1] * 300_000)), INVALID),
        (pb.GenerateRequest(text="a" * 500_000), INVALID),
        (conversation(*[pb.Message(role="user")] * 300_000), INVALID),
    ],
)
async def test_what_is_too_much_is_refused_in_words_that_arrive(
    served: Served,
    stub: inference_pb2_grpc.InferenceStub,
    request_: pb.GenerateRequest,
    status: grpc.StatusCode | None,
) -> None:
    seen, details = await status_of(stub, request_)
    assert status in (None, seen), details
    assert "metadata" not in details, "the words did not fit where they are sent"
    await assert_serves(served, stub)


async def test_metadata_has_a_size(served: Served, stub: inference_pb2_grpc.InferenceStub) -> None:
    call = stub.Generate(pb.GenerateRequest(text="a"), metadata=(("x-long", "a" * 100_000),))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in call:
            pass
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await assert_serves(served, stub)


async def end_of_one_that_sends_nothing(channel: grpc.aio.Channel, method: str) -> grpc.StatusCode:
    """How a call ends that is begun and then never gets its message."""
    call: grpc.aio.StreamStreamCall[Message, bytes] = channel.stream_stream(method)()
    async with asyncio.timeout(WITHIN_S):
        return await call.code()


@pytest.mark.parametrize("method", [GENERATE, LIST_MODELS, HEALTH])
async def test_a_call_without_its_message_is_ended(
    served: Served,
    stub: inference_pb2_grpc.InferenceStub,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    monkeypatch.setattr("orchestrator.gateway.grpc_messages.BODY_TIMEOUT_S", 0.2)
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        calls = [end_of_one_that_sends_nothing(channel, method) for _ in range(50)]
        assert set(await asyncio.gather(*calls)) == {grpc.StatusCode.DEADLINE_EXCEEDED}
    monkeypatch.undo()
    await assert_serves(served, stub)


@pytest.mark.parametrize("method", [GENERATE, LIST_MODELS])
async def test_without_a_key_no_message_is_waited_for(
    tmp_path: Path,
    replica: ScriptedReplica,
    registry: MemoryRegistry,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    monkeypatch.setattr("orchestrator.gateway.grpc_messages.BODY_TIMEOUT_S", 10 * WITHIN_S)
    nobody = Keys(RateLimits(RateCounts(OsClock())), Keyring(()))
    async with (
        serving(tmp_path, replica, registry, nobody) as served,
        grpc.aio.insecure_channel(served.grpc_address) as channel,
    ):
        calls = [end_of_one_that_sends_nothing(channel, method) for _ in range(50)]
        assert set(await asyncio.gather(*calls)) == {grpc.StatusCode.UNAUTHENTICATED}


async def test_a_call_that_ends_before_its_message_is_told_so(
    served: Served, stub: inference_pb2_grpc.InferenceStub
) -> None:
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        call: grpc.aio.StreamStreamCall[Message, bytes] = channel.stream_stream(GENERATE)()
        await call.done_writing()
        async with asyncio.timeout(WITHIN_S):
            assert await call.code() is INVALID
    await assert_serves(served, stub)


@pytest.mark.parametrize(
    "content",
    [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 4096],
    ids=["HTTP/1.1", "frames that are none"],
)
async def test_what_is_no_grpc_is_hung_up_on(
    served: Served, stub: inference_pb2_grpc.InferenceStub, content: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.ports.grpc)
    writer.write(content)
    with suppress(ConnectionError):
        async with asyncio.timeout(WITHIN_S):
            while await reader.read(65536):
                pass
    writer.close()
    await assert_serves(served, stub)
