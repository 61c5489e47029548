"""A request's story through both doors, while it runs and after its end."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from orchestrator.__main__ import blockyard
from protos import inference_pb2 as pb
from protos import inference_pb2_grpc
from tests.integration.gateway.conftest import Served

CANARY = "zanzibar"


async def test_a_request_that_runs_is_explained_by_the_name_of_its_client(served: Served) -> None:
    served.replica.held_after = 2
    body = {"prompt": f"The ferry to {CANARY}", "stream": True}
    headers = {"x-request-id": "mine"}
    async with (
        served.http() as client,
        client.stream("POST", "/v1/completions", json=body, headers=headers) as answer,
    ):
        lines = answer.aiter_lines()
        await anext(lines)
        running = (await client.get("/v1/requests/mine/explain")).json()
        served.replica.release.set()
        async for _ in lines:
            pass
        response = await client.get("/v1/requests/mine/explain")
    ended = response.json()
    assert (running["state"], running["outcome"]) == ("running", None)
    assert (ended["state"], ended["outcome"], ended["class"]) == ("ended", "ok", "interactive")
    assert ended["request_id"].startswith("mine-")
    assert [entry["what"] for entry in ended["timeline"]][:2] == ["prepare", "hash"]
    assert ended["timeline"][-1]["what"] == "end"
    assert CANARY not in response.text


async def test_what_nobody_asked_is_not_found_by_either_door(served: Served) -> None:
    async with served.http() as client:
        unknown = await client.get("/v1/requests/nobody/explain")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "request_not_found")
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        stub: Any = inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Explain(pb.ExplainRequest(request_id="nobody"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_no_name_at_all_is_nobodys(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        stub: Any = inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]
        async for _ in stub.Generate(pb.GenerateRequest(text="Say", request_id="-1")):
            pass
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Explain(pb.ExplainRequest(request_id=""))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    async with served.http() as client:
        assert (await client.get("/v1/requests/-1/explain")).status_code == 200
        for path in ("/v1/requests//explain", "/v1/requests/cmpl-/explain", "/v1/decisions/"):
            assert (await client.get(path)).status_code == 404


async def test_both_doors_tell_the_same_story(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        stub: Any = inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]
        async for _ in stub.Generate(pb.GenerateRequest(text="Say", request_id="mine")):
            pass
        by_grpc = await stub.Explain(pb.ExplainRequest(request_id="mine"))
    async with served.http() as client:
        by_http = (await client.get("/v1/requests/mine/explain")).json()
    assert list(by_grpc.words) == by_http["words"]
    assert [entry.what for entry in by_grpc.timeline] == [e["what"] for e in by_http["timeline"]]
    assert (by_grpc.state, by_grpc.outcome) == ("ended", "ok")
    first, *_ = by_grpc.timeline
    assert first.lasted_ms == by_http["timeline"][0]["lasted_ms"]


async def test_a_refused_request_says_what_it_was_refused_for(served: Served) -> None:
    headers = {"x-request-id": "long"}
    async with served.http() as client:
        body = {"prompt": "x" * 5000}
        refused = await client.post("/v1/completions", json=body, headers=headers)
        told = (await client.get("/v1/requests/long/explain")).json()
    code = refused.json()["error"]["code"]
    assert (told["outcome"], told["replica"]) == (code, None)
    assert f"ended {code}" in told["words"][0] and "without a token" in told["words"][0]


async def test_the_command_prints_the_story_and_the_timeline(served: Served) -> None:
    async with served.http() as client:
        body = {"prompt": "Say"}
        await client.post("/v1/completions", json=body, headers={"x-request-id": "mine"})
    told = await asyncio.to_thread(run, "explain", "mine", "--http-port", str(served.ports.http))
    assert told.exit_code == 0, told.output
    assert "ended ok" in told.output and "It went to scripted-1 (load)" in told.output
    assert "first token" in told.output
    unknown = await asyncio.to_thread(
        run, "explain", "nobody", "--http-port", str(served.ports.http)
    )
    assert unknown.exit_code == 1
    assert "remembers no request 'nobody'" in unknown.output


def run(*words: str) -> Any:
    return CliRunner().invoke(blockyard, words)
