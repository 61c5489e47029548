"""One trace for each request: spans of the gateway and of its replicas, at a real collector."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import grpc
import httpx
import pytest

from orchestrator.live.control_plane import ControlPlaneConfig, ControlPlaneServer
from protos import control_pb2, control_pb2_grpc, inference_pb2_grpc, otlp
from protos import inference_pb2 as pb
from protos.messages import ReplicaId
from protos.transport import Transport
from tests.integration.control.until import until, until_true
from tests.integration.tracing.collector import ROOT, Collected, Collector
from tests.integration.tracing.conftest import PROMPT, Traced, serving

AT_GATEWAY = ("request", "prepare", "hash", "locate", "admit", "route", "attempt", "first token")
AT_REPLICA = ("queue", "prefill", "decode")


def client_context(*, is_sampled: bool = True) -> tuple[str, str, str]:
    """A client's trace, its span, and the header that says so."""
    trace_id, span_id = token_hex(16), token_hex(8)
    return trace_id, span_id, f"00-{trace_id}-{span_id}-0{int(is_sampled)}"


def pace(traced: Traced, step_s: float) -> None:
    """What is to happen in the middle of an answer happens while its steps are slow."""
    for served in traced.inner.replicas.values():
        served.executor.step_s = step_s


def named(spans: list[Collected], name: str) -> Collected:
    (span,) = [span for span in spans if span.name == name]
    return span


async def test_a_request_is_one_trace_through_gateway_and_replica(
    traced: Traced, collector: Collector
) -> None:
    trace_id, client_span, traceparent = client_context()
    answer_id = await traced.complete(traceparent=traceparent)
    spans = await collector.until_named(trace_id, *AT_GATEWAY, *AT_REPLICA)
    assert sorted(span.name for span in spans) == sorted((*AT_GATEWAY, *AT_REPLICA))
    services = {span.name: span.service for span in spans}
    assert {services[name] for name in AT_GATEWAY} == {"blockyard-gateway"}
    assert {services[name] for name in AT_REPLICA} == {"blockyard-replica"}

    root, attempt = named(spans, "request"), named(spans, "attempt")
    parents = {span.name: span.parent_id for span in spans}
    assert parents.pop("request") == client_span
    below_attempt = {parents.pop(name) for name in ("first token", *AT_REPLICA)}
    assert below_attempt == {attempt.span_id}
    assert set(parents.values()) == {root.span_id}
    assert len({span.span_id for span in spans}) == len(spans)

    assert answer_id.endswith(root.attributes["blockyard.request_id"])
    assert root.attributes["blockyard.outcome"] == "ok" and not root.is_error
    assert root.events == ("first token",)
    replica = named(spans, "decode")
    assert replica.instance == attempt.attributes["blockyard.replica"]
    assert PROMPT not in str(spans)


async def test_spans_lie_within_their_parents(traced: Traced, collector: Collector) -> None:
    trace_id, _, traceparent = client_context()
    await traced.complete(traceparent=traceparent)
    spans = await collector.until_named(trace_id, *AT_GATEWAY, *AT_REPLICA)
    of_id = {span.span_id: span for span in spans}
    inner = [span for span in spans if span.parent_id in of_id]
    assert len(inner) == len(spans) - 1
    slack_ns = 2_000_000  # every export of spans reads the date for itself
    for span in inner:
        parent = of_id[span.parent_id]
        assert parent.began_ns - slack_ns <= span.began_ns <= span.ended_ns
        assert span.ended_ns <= parent.ended_ns + slack_ns


async def test_a_request_without_a_context_begins_a_trace(
    traced: Traced, collector: Collector
) -> None:
    answer_id = await traced.complete()
    async with traced.http() as client:
        told = (await client.get(f"/v1/requests/{answer_id}/explain")).json()
    spans = await collector.until_named(told["trace_id"], "request", "decode")
    assert named(spans, "request").parent_id == ROOT


async def test_a_context_comes_in_with_grpc_metadata(traced: Traced, collector: Collector) -> None:
    trace_id, client_span, traceparent = client_context()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{traced.ports.grpc}") as channel:
        stub: Any = inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Generate(
            pb.GenerateRequest(text=PROMPT, sampling=pb.SamplingOptions(max_tokens=3)),
            metadata=(("traceparent", traceparent),),
        )
        async for _ in call:
            pass
    spans = await collector.until_named(trace_id, "request", "decode")
    assert named(spans, "request").parent_id == client_span


async def test_what_its_client_does_not_sample_is_not_exported(
    traced: Traced, collector: Collector
) -> None:
    _, _, unsampled = client_context(is_sampled=False)
    await traced.complete(traceparent=unsampled)
    trace_id, _, sampled = client_context()
    await traced.complete(traceparent=sampled)
    await collector.until_named(trace_id, "request", "decode")
    assert {span.trace_id for span in collector.spans} == {trace_id}


async def test_a_share_of_traces_is_begun_where_the_environment_says_so(
    environment: None, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    async with serving(tmp_path) as traced:
        await traced.complete()
        trace_id, _, sampled = client_context()
        await traced.complete(traceparent=sampled)
        await collector.until_named(trace_id, "request", "decode")
    assert {span.trace_id for span in collector.spans} == {trace_id}


async def test_a_failed_request_is_a_trace_with_an_error(
    traced: Traced, collector: Collector
) -> None:
    trace_id, _, traceparent = client_context()
    body = {"prompt": "x" * 4090, "max_tokens": 1}
    async with traced.http() as client:
        response = await client.post(
            "/v1/completions", json=body, headers={"traceparent": traceparent}
        )
    assert response.status_code >= httpx.codes.BAD_REQUEST
    root = named(await collector.until_named(trace_id, "request"), "request")
    assert root.is_error
    assert root.attributes["blockyard.outcome"] == response.json()["error"]["code"]


async def test_a_lost_replica_and_the_one_that_goes_on_are_in_one_trace(
    traced: Traced, collector: Collector
) -> None:
    pace(traced, 0.5)
    trace_id, _, traceparent = client_context()
    body = {"prompt": PROMPT, "max_tokens": 80, "temperature": 0, "ignore_eos": True}
    stream = {"stream": True, **body}
    async with (
        traced.http() as client,
        client.stream(
            "POST", "/v1/completions", json=stream, headers={"traceparent": traceparent}
        ) as response,
    ):
        first = response.headers["x-blockyard-replica"]
        is_over = False
        async for line in response.aiter_lines():
            if line and not is_over:
                is_over = True
                traced.inner.replicas[ReplicaId(first)].executor.failure = RuntimeError("burnt")
                pace(traced, 0.0)

    def attempted() -> list[Collected]:
        return [span for span in collector.of(trace_id) if span.name == "attempt"]

    def decoded_elsewhere() -> list[Collected]:
        spans = collector.of(trace_id)
        return [span for span in spans if span.name == "decode" and span.instance != first]

    await until(lambda: len(attempted()) == 2, "both attempts")
    await until(lambda: len(decoded_elsewhere()) == 1, "the replica that went on told of it")
    attempts, (decode,) = attempted(), decoded_elsewhere()
    ends = [span.attributes["blockyard.end"] for span in attempts]
    assert ends == ["lost", "finished"]
    assert attempts[0].is_error and not attempts[1].is_error
    assert decode.parent_id == attempts[1].span_id


async def test_a_collector_that_is_away_costs_spans_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(otlp, "CLOSE_S", 0.1)
    async with serving(tmp_path) as traced:
        for _ in range(5):
            await traced.complete()


async def test_without_a_collector_a_clients_context_still_reaches_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trace_id, _, traceparent = client_context()
    with caplog.at_level("INFO"):
        async with serving(tmp_path) as traced:
            await traced.complete(traceparent=traceparent)

            def ended() -> list[dict[str, Any]]:
                lines = ("request ended", "choice ended")
                return [r.fields for r in caplog.records if r.getMessage() in lines]  # type: ignore[attr-defined]

            await until(lambda: len(ended()) == 2, "a line of the gateway, and one of the replica")
            assert {line["trace_id"] for line in ended()} == {trace_id}
            assert len({line["request_id"] for line in ended()}) == 1


async def test_a_move_takes_the_trace_along(traced: Traced, collector: Collector) -> None:
    pace(traced, 0.2)
    trace_id, _, traceparent = client_context()
    body = {"prompt": PROMPT, "max_tokens": 150, "temperature": 0, "ignore_eos": True}
    async with (
        commanded(traced) as operator,
        traced.http() as client,
        client.stream(
            "POST",
            "/v1/completions",
            json={"stream": True, **body},
            headers={"traceparent": traceparent},
        ) as response,
    ):
        lines = response.aiter_lines()
        await anext(lines)  # the event's id
        answer_id = json.loads((await anext(lines)).removeprefix("data: "))["id"]
        source = response.headers["x-blockyard-replica"]
        (target,) = {"a", "b"} - {source}
        request_id = answer_id.removeprefix("cmpl-")

        async def is_reported() -> bool:
            status = await operator.Status(control_pb2.StatusRequest(sequences=True))
            return any(replica.sequences for replica in status.replicas)

        await until_true(is_reported, "the control plane knows the sequence")
        moved = await operator.Move(control_pb2.MoveRequest(sequence=request_id, target=target))
        assert moved.report.outcome == "moved", moved.report
        pace(traced, 0.0)
        async for _ in lines:
            pass
        told = (await client.get(f"/v1/requests/{answer_id}/explain")).json()

    def decodes() -> list[Collected]:
        return [span for span in collector.of(trace_id) if span.name == "decode"]

    await until(lambda: len(decodes()) == 2, "both replicas decoded")
    spans = await collector.until_named(trace_id, "request", "migration", "first token")
    migration = named(spans, "migration")
    assert (migration.instance, migration.attributes["blockyard.target"]) == (source, target)
    assert [span.instance for span in decodes()] == [source, target]
    assert {span.parent_id for span in decodes()} == {migration.parent_id}
    assert f"moved it, with its KV, to {target}" in " ".join(told["words"])


@asynccontextmanager
async def commanded(traced: Traced) -> AsyncIterator[Any]:
    """An operator of a control plane that both replicas have found."""
    server = ControlPlaneServer(
        traced.inner.registry,
        host="127.0.0.1",
        port=0,
        advertise_host="127.0.0.1",
        transport=Transport(),
        config=ControlPlaneConfig(tick_s=0.02, stop_grace_s=0.0),
    )
    try:
        async with grpc.aio.insecure_channel(await server.start()) as channel:
            operator = control_pb2_grpc.OperatorStub(channel)  # type: ignore[no-untyped-call]

            async def all_attached() -> bool:
                return len((await operator.Status(control_pb2.StatusRequest())).replicas) == 2

            await until_true(all_attached, "both replicas found the control plane")
            yield operator
    finally:
        await server.stop()
