"""The gRPC door: streams, deadlines, cancellation, health, and discovery by reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from orchestrator.gateway.dispatch import Dispatch
from orchestrator.gateway.record import Record
from orchestrator.gateway.stream import Stream
from protos import inference_pb2 as pb
from protos.inference_pb2_grpc import InferenceStub
from protos.messages import RefusalReason, Request
from tests.integration.gateway.conftest import Served
from tests.integration.gateway.scripted import CARD, REPLICA
from tests.unit.gateway.byte_model import END, START
from tests.unit.shell.eventually import eventually


@pytest.fixture
async def channel(served: Served) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return InferenceStub(channel)  # type: ignore[no-untyped-call]


async def generate(stub: Any, **fields: Any) -> list[pb.GenerateEvent]:
    return [event async for event in stub.Generate(pb.GenerateRequest(**fields), timeout=20)]


async def failure(stub: Any, **fields: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await generate(stub, **fields)
    return failed.value


async def assert_still_serves(stub: Any) -> None:
    events = await generate(stub, text="Say")
    assert "".join(event.chunk.text for event in events) == "Hello!"


async def test_a_stream_starts_brings_chunks_finishes_and_ends_with_usage(
    served: Served, stub: Any
) -> None:
    served.replica.hit_tokens = 2
    first, *chunks, finished, usage = await generate(stub, text="Say", request_id="mine")
    assert first.started == pb.Started(
        request_id="mine",
        model="bytes",
        replica=REPLICA,
        prompt_tokens=3,
        hit_tokens=2,
        resume_token=first.started.resume_token,
    )
    assert "".join(event.chunk.text for event in chunks) == "Hello!"
    assert [event.chunk.first_index for event in chunks] == list(range(7))
    assert [event.chunk.tokens[0].id for event in chunks] == [*b"Hello!", END]
    assert finished.finished == pb.Finished(choice=0, reason="stop")
    assert usage.usage == pb.Usage(prompt_tokens=3, completion_tokens=7, hit_tokens=2)


async def test_every_option_arrives(served: Served, stub: Any) -> None:
    options = pb.SamplingOptions(
        max_tokens=9,
        min_tokens=2,
        temperature=0.0,
        top_k=5,
        top_p=0.5,
        min_p=0.25,
        seed=3,
        repetition_penalty=1.5,
        presence_penalty=-1,
        frequency_penalty=1,
        stop_token_ids=[7],
        ignore_eos=True,
        logprobs=0,
        n=2,
    )
    events = await generate(stub, token_ids={"ids": [1, 2]}, sampling=options, cache_salt="s")
    (request,) = served.replica.requests
    sampling = request.sampling
    assert (request.prompt, request.choices, request.salt) == ((1, 2), 2, b"s")
    assert (sampling.tokens_max, sampling.tokens_min, sampling.temperature) == (9, 2, 0.0)
    assert (sampling.top_k, sampling.top_p, sampling.min_p, sampling.seed) == (5, 0.5, 0.25, 3)
    assert sampling.repetition_penalty == 1.5
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (-1, 1)
    assert (sampling.stop_token_ids, sampling.logprobs) == ((7,), 0)
    assert {event.finished.choice for event in events if event.HasField("finished")} == {0, 1}
    assert events[1].chunk.tokens[0].logprob == -0.25


async def test_a_conversation_is_rendered_with_the_models_template(
    served: Served, stub: Any
) -> None:
    await generate(stub, conversation={"messages": [{"role": "user", "content": "Hi"}]})
    assert served.replica.requests[0].prompt == (
        *(START, *b"user\nHi", END, *b"\n"),
        *(START, *b"assistant\n"),
    )


async def test_a_developer_speaks_as_the_system(served: Served, stub: Any) -> None:
    await generate(stub, conversation={"messages": [{"role": "developer", "content": "Hi"}]})
    assert served.replica.requests[0].prompt[:10] == (START, *b"system\nHi")


@pytest.mark.parametrize(
    ("structure", "text"),
    [
        ({"json_schema": '{"enum": ["a", 2]}'}, '"enum"'),
        ({"regex": "[ab]+"}, "[ab]+"),
        ({"choice": {"texts": ["yes", "no"]}}, "yes|no"),
        ({"grammar": 'start: "x"'}, 'start: "x"'),
    ],
)
async def test_a_structure_arrives_as_a_grammar(
    served: Served, stub: Any, structure: dict[str, Any], text: str
) -> None:
    sampling = pb.SamplingOptions(max_tokens=9, structure=structure)
    await generate(stub, token_ids={"ids": [1, 2]}, sampling=sampling)
    (request,) = served.replica.requests
    assert text in request.sampling.grammar
    assert END in request.sampling.stop_token_ids


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({}, "INVALID_ARGUMENT", "input"),
        ({"text": ""}, "INVALID_ARGUMENT", "prompt"),
        ({"token_ids": {}}, "INVALID_ARGUMENT", "prompt"),
        ({"token_ids": {"ids": [1, CARD.vocab_size]}}, "INVALID_ARGUMENT", "prompt"),
        ({"text": "a" * 5000}, "INVALID_ARGUMENT", "prompt"),
        ({"text": "a" * 3000, "sampling": {"max_tokens": 1}}, "RESOURCE_EXHAUSTED", None),
        ({"text": "a", "model": "gpt-9"}, "NOT_FOUND", "model"),
        ({"conversation": {}}, "INVALID_ARGUMENT", "conversation.messages"),
        (
            {"conversation": {"messages": [{"role": "wizard"}]}},
            "INVALID_ARGUMENT",
            "conversation.messages[0].role",
        ),
        ({"text": "a", "request_id": "x" * 129}, "INVALID_ARGUMENT", "request_id"),
        ({"text": "a", "request_id": "\x1b[2J"}, "INVALID_ARGUMENT", "request_id"),
        ({"text": "a", "request_id": "a\nb"}, "INVALID_ARGUMENT", "request_id"),
        ({"text": "a", "tenant": "\x1b[2J"}, "INVALID_ARGUMENT", "tenant"),
        ({"text": "a", "cache_salt": "x" * 257}, "INVALID_ARGUMENT", "cache_salt"),
        *(
            ({"text": "a", "sampling": {field: value}}, "INVALID_ARGUMENT", f"sampling.{field}")
            for field, value in (
                ("temperature", NAN),
                ("temperature", INFINITY),
                ("temperature", -0.5),
                ("top_p", 0.0),
                ("min_p", 1e300),
                ("repetition_penalty", -1.0),
                ("presence_penalty", NAN),
                ("max_tokens", 0),
                ("n", 2**32 - 1),
                ("logprobs", 21),
                ("stop", [""]),
                ("structure", {}),
            )
        ),
        (
            {"text": "a", "sampling": {"structure": {"regex": "a("}}},
            "INVALID_ARGUMENT",
            "sampling.structure.regex",
        ),
    ],
)
async def test_a_wrong_field_is_named_and_the_next_call_is_served(
    stub: Any, fields: dict[str, Any], status: str, param: str | None
) -> None:
    error = await failure(stub, **fields)
    assert error.code().name == status
    metadata = dict(error.trailing_metadata() or ())
    assert metadata["error-code"]
    assert metadata.get("error-param") == param
    assert error.details()
    await assert_still_serves(stub)


async def test_what_may_pass_and_what_broke_have_their_own_codes(served: Served, stub: Any) -> None:
    served.replica.refusal = RefusalReason.QUEUE_FULL
    assert (await failure(stub, text="a")).code().name in ("RESOURCE_EXHAUSTED", "UNAVAILABLE")
    served.replica.refusal = None
    served.replica.lost_after = 2
    lost = await failure(stub, text="a")
    assert lost.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(lost.trailing_metadata() or ())["error-code"] == "replica_lost"
    served.replica.lost_after = None
    await assert_still_serves(stub)


@pytest.mark.parametrize("method", ["Generate", "Cancel", "ListModels"])
async def test_a_bug_is_an_internal_error_that_shows_nothing(
    served: Served,
    stub: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    words = "secret prompt text"

    def broken(*_: object) -> None:
        raise ZeroDivisionError(words)

    monkeypatch.setattr(served.gateway, "card", broken)
    monkeypatch.setattr(served.gateway, "cancel", broken)
    served.replica.on_submit = broken
    calls: dict[str, Callable[[], Any]] = {
        "Generate": lambda: generate(stub, text="a", request_id="mine"),
        "Cancel": lambda: stub.Cancel(pb.CancelRequest(request_id="mine")),
        "ListModels": lambda: stub.ListModels(pb.ListModelsRequest()),
    }
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await calls[method]()
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert failed.value.details() == "internal error"
    request_id = "-" if method == "ListModels" else "mine"
    assert f"request={request_id} bug=ZeroDivisionError" in caplog.text
    assert "in broken" in caplog.text, "the log says where"
    assert words not in caplog.text


@pytest.mark.parametrize("timeout_s", [1000, None])
async def test_a_calls_deadline_is_its_requests_deadline(
    served: Served, stub: Any, monkeypatch: pytest.MonkeyPatch, timeout_s: int | None
) -> None:
    """On the gateway's clock. With gRPC's own cancellation alone it would queue for nobody."""
    seen: list[int | None] = []
    start = Dispatch.start

    async def watched(
        self: Dispatch,
        request: Request,
        *,
        deadline_ns: int | None = None,
        record: Record | None = None,
    ) -> Stream:
        seen.append(deadline_ns)
        return await start(self, request, deadline_ns=deadline_ns, record=record)

    monkeypatch.setattr(Dispatch, "start", watched)
    async for _ in stub.Generate(pb.GenerateRequest(text="a"), timeout=timeout_s):
        pass
    (deadline_ns,) = seen
    if timeout_s is None:
        assert deadline_ns is None
    else:
        assert deadline_ns is not None
        left_s = (deadline_ns - served.gateway.clock.now_ns()) / 1e9
        assert timeout_s - 100 < left_s < timeout_s + 1


@pytest.mark.parametrize("held_after", [0, 2])
async def test_a_client_that_cancels_frees_its_replica_at_once(
    served: Served, stub: Any, held_after: int
) -> None:
    served.replica.held_after = held_after
    call = stub.Generate(pb.GenerateRequest(text="a"))
    await call.wait_for_connection() if held_after else None
    await eventually(lambda: bool(served.replica.requests) or call.done(), "it is at the replica")
    call.cancel()
    await eventually(lambda: served.replica.cancelled == 1, "the replica was told")


async def test_a_deadline_ends_the_request_at_its_replica(served: Served, stub: Any) -> None:
    served.replica.held_after = 2
    timeout_s = 0.2
    while not served.replica.requests:  # on a slow machine the first may not get so far in time
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            async for _ in stub.Generate(pb.GenerateRequest(text="a"), timeout=timeout_s):
                pass
        assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        timeout_s *= 2
    await eventually(
        lambda: served.replica.cancelled == len(served.replica.requests), "the replica was told"
    )


@pytest.mark.parametrize("held_after", [0, 2])
async def test_a_request_can_be_ended_from_elsewhere(
    served: Served, stub: Any, held_after: int
) -> None:
    served.replica.held_after = held_after
    call = asyncio.create_task(failure(stub, text="a", request_id="mine"))
    await eventually(lambda: bool(served.replica.requests), "the request is at the replica")
    assert (await stub.Cancel(pb.CancelRequest(request_id="mine"))).found
    assert (await call).code() is grpc.StatusCode.CANCELLED
    assert served.replica.cancelled == 1
    assert not (await stub.Cancel(pb.CancelRequest(request_id="mine"))).found


async def test_an_http_stream_can_be_ended_from_elsewhere(served: Served, stub: Any) -> None:
    served.replica.held_after = 2
    async with served.http() as client:
        body = {"prompt": "a", "stream": True}
        asking = asyncio.create_task(client.post("/v1/completions", json=body))
        await eventually(lambda: bool(served.replica.requests), "the request is at the replica")
        request_id = served.replica.requests[0].request_id
        assert (await stub.Cancel(pb.CancelRequest(request_id=request_id))).found
        answer = await asking
    assert '"code":"cancelled"' in answer.text
    assert "[DONE]" not in answer.text


async def test_one_id_runs_once_at_a_time(served: Served, stub: Any) -> None:
    served.replica.held_after = 2
    first = asyncio.create_task(generate(stub, text="a", request_id="mine"))
    await eventually(lambda: bool(served.replica.requests), "the request is at the replica")
    error = await failure(stub, text="a", request_id="mine")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    served.replica.release.set()
    assert len(await first) == 10


async def test_models_are_listed(stub: Any) -> None:
    (model,) = (await stub.ListModels(pb.ListModelsRequest())).models
    assert (model.id, model.context_tokens_max, model.block_size) == ("bytes", 4096, 16)


async def test_an_unknown_method_is_unimplemented(channel: Any, stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await channel.unary_unary("/blockyard.inference.v1.Inference/Guess")(b"")
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await assert_still_serves(stub)


async def test_bytes_that_are_no_message_do_no_harm(channel: Any, stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        async for _ in channel.unary_stream("/blockyard.inference.v1.Inference/Generate")(b"\xff"):
            pass
    await assert_still_serves(stub)


async def test_a_message_over_the_limit_is_refused(stub: Any) -> None:
    error = await failure(stub, text="a" * 5_000_000)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await assert_still_serves(stub)


async def test_health_follows_the_replicas(served: Served, channel: grpc.aio.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="blockyard.inference.v1.Inference")
    watch = health.Watch(request)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    served.replica.is_up = False
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_client_without_our_stubs_finds_its_way_by_reflection(served: Served) -> None:
    def discover_and_call() -> list[str]:
        with grpc.insecure_channel(served.grpc_address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            assert "grpc.health.v1.Health" in database.get_services()
            pool = DescriptorPool(database)
            service = pool.FindServiceByName("blockyard.inference.v1.Inference")
            method = service.FindMethodByName("Generate")
            ask: Any = GetMessageClass(method.input_type)
            event: Any = GetMessageClass(method.output_type)
            call = channel.unary_stream(
                f"/{service.full_name}/{method.name}",
                request_serializer=ask.SerializeToString,
                response_deserializer=event.FromString,
            )
            return [answer.chunk.text for answer in call(ask(text="Say"), timeout=20)]

    assert "".join(await asyncio.to_thread(discover_and_call)) == "Hello!"
