"""Ports, probes, metrics, and how a gateway stops."""

from __future__ import annotations

import asyncio
import signal
import socket

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.gateway.server import GatewayServer
from protos.address import CannotListen
from tests.integration.gateway.conftest import Served
from tests.ports import free_ports
from tests.unit.shell.eventually import eventually

COMPLETIONS = "/v1/completions"


async def test_the_process_keeps_its_signal_handlers(served: Served) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("door", ["http", "grpc"])
async def test_a_port_that_is_taken_is_an_error_and_opens_no_door(
    served: Served, door: str
) -> None:
    (free,) = free_ports(1)
    ports = {"http": (served.ports.http, free), "grpc": (free, served.ports.grpc)}[door]
    server = GatewayServer(served.gateway, http_port=ports[0], grpc_port=ports[1])
    with pytest.raises(CannotListen, match=str(getattr(served.ports, door))):
        await server.start()
    with socket.socket() as again:
        again.bind(("127.0.0.1", free))


async def test_what_runs_may_finish_when_the_server_stops(served: Served) -> None:
    served.replica.held_after = 2
    async with served.http() as client:
        asking = asyncio.create_task(client.post(COMPLETIONS, json={"prompt": "a"}))
        await eventually(lambda: bool(served.replica.requests), "the request is at the replica")
        stopping = asyncio.create_task(served.server.stop(20.0))
        await eventually(lambda: not served.gateway.is_ready(), "it is no longer ready")
        served.replica.release.set()
        assert (await asking).json()["choices"][0]["text"] == "Hello!"
        await stopping
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")


async def test_what_runs_too_long_is_told_to_come_back(served: Served) -> None:
    served.replica.held_after = 2
    async with served.http() as client:
        whole = asyncio.create_task(client.post(COMPLETIONS, json={"prompt": "a"}))
        body = {"prompt": "a", "stream": True}
        streamed = asyncio.create_task(client.post(COMPLETIONS, json=body))
        await eventually(lambda: len(served.replica.requests) == 2, "they are at the replica")
        await served.server.stop(0.0)
        assert served.replica.is_let_go, "another gateway may go on with them"
        assert served.replica.cancelled == 2
        assert (await whole).status_code == 503
        assert (await whole).json()["error"]["code"] == "gateway_stopping"
        assert int((await whole).headers["retry-after"]) >= 1
        assert "gateway_stopping" in (await streamed).text
        assert "[DONE]" not in (await streamed).text


async def test_metrics_tell_what_happened(served: Served) -> None:
    served.replica.hit_tokens = 1
    async with served.http() as client:
        await client.post(COMPLETIONS, json={"prompt": "Say"})
        await client.post(COMPLETIONS, json={"prompt": "Say", "temperature": 9})
        await client.post(COMPLETIONS, json={"prompt": ""})
        answer = await client.get("/metrics")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["blockyard_requests_total", "interactive", "ok"] == 1
    assert samples["blockyard_requests_total", "interactive", "empty_prompt"] == 1
    assert samples["blockyard_prompt_tokens_total", "interactive"] == 3
    assert samples["blockyard_prefix_cache_queries_total",] == 3
    assert samples["blockyard_prefix_cache_hits_total",] == 1
    assert samples["blockyard_generation_tokens_total", "interactive"] == 7
    assert samples["blockyard_time_to_first_token_seconds_count", "interactive"] == 1
    assert samples["blockyard_inter_token_latency_seconds_count", "interactive"] == 6
    assert samples["blockyard_e2e_request_latency_seconds_count", "interactive"] == 1
    assert samples["blockyard_requests_placed_total", "load"] == 1
    assert samples["blockyard_requests_in_flight",] == 0
    assert samples["blockyard_requests_waiting", "interactive"] == 0


async def test_probes_and_documentation_answer(served: Served) -> None:
    async with served.http() as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        for page in ("/docs", "/redoc"):  # with scripts of others, where /ui keeps a key
            assert (await client.get(page)).status_code == 404
        schema = (await client.get("/openapi.json")).json()
    body = schema["paths"]["/v1/chat/completions"]["post"]["requestBody"]
    messages = body["content"]["application/json"]["schema"]["properties"]["messages"]
    message = schema
    for step in messages["items"]["$ref"].removeprefix("#/").split("/"):
        message = message[step.replace("~1", "/")]
    assert "role" in message["required"], "the reference leads to where it says"


async def test_a_bug_is_an_internal_error_that_shows_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(served.gateway, "card", broken)
    async with served.http() as client:
        answer = await client.get("/v1/models")
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal_error"
        assert "secret" not in answer.text
        monkeypatch.undo()
        assert (await client.get("/v1/models")).status_code == 200
