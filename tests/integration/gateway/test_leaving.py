"""Clients that leave and replicas that are lost, at every moment of a request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest

from tests.integration.gateway.conftest import Served
from tests.unit.shell.eventually import eventually, eventually_answers

COMPLETIONS = "/v1/completions"


def outcome(served: Served, name: str) -> float | None:
    return served.gateway.metrics.registry.get_sample_value(
        "blockyard_requests_total", {"outcome": name, "class": "interactive"}
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("held_after", [0, 3])
async def test_a_client_that_leaves_frees_its_replica_at_once(
    served: Served, stream: bool, held_after: int
) -> None:
    """Before the first token as well as in the middle of the answer."""
    served.replica.held_after = held_after
    body = {"prompt": "a", "stream": stream}
    async with served.http() as client:
        asking = asyncio.create_task(client.post(COMPLETIONS, json=body))
        await eventually(lambda: bool(served.replica.requests), "the request is at the replica")
        assert served.replica.cancelled == 0
        asking.cancel()
        await eventually(lambda: served.replica.cancelled == 1, "the replica was told")
        await eventually(lambda: outcome(served, "client_gone") == 1, "it was counted")
        served.replica.held_after = None
        assert (await client.post(COMPLETIONS, json={"prompt": "a"})).status_code == 200
    counted = served.gateway.metrics.registry
    await eventually(
        lambda: counted.get_sample_value("blockyard_requests_in_flight") == 0, "nothing runs"
    )


async def test_a_client_that_leaves_ends_all_prompts_of_its_call(served: Served) -> None:
    served.replica.held_after = 1
    async with served.http() as client:
        asking = asyncio.create_task(client.post(COMPLETIONS, json={"prompt": ["a", "b", "c"]}))
        await eventually(lambda: len(served.replica.requests) == 3, "all are at the replica")
        asking.cancel()
        await eventually(lambda: served.replica.cancelled == 3, "the replica was told")


async def test_a_client_that_leaves_within_its_body_is_nothing(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.ports.http)
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b'content-length: 1000\r\n\r\n{"prompt": '
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with served.http() as client:
        assert (await client.post(COMPLETIONS, json={"prompt": "a"})).status_code == 200
    assert reader.at_eof()


@pytest.mark.parametrize("after", range(1, 6))
async def test_a_client_does_not_notice_that_its_replica_was_lost(
    served: Served, after: int
) -> None:
    """A stop string and a character of several bytes may be cut in two."""
    served.replica.answer = "é‼ stop it".encode()
    served.replica.lost_after = after
    body = {"prompt": "a", "stop": ["stop"], "n": 2}
    async with served.http() as client:
        served.replica.losses_left = 0
        undisturbed = (await client.post(COMPLETIONS, json=body)).json()["choices"]
        served.replica.losses_left = 1
        resumed = (await client.post(COMPLETIONS, json=body)).json()["choices"]
    assert [choice["text"] for choice in undisturbed] == ["é‼ ", ".é‼ "]
    assert resumed == undisturbed
    assert any(request.output for request in served.replica.requests)


async def test_a_replica_lost_again_and_again_ends_the_stream_with_an_error(
    served: Served,
) -> None:
    served.replica.lost_after = 3
    async with served.http() as client:
        answer = await client.post(COMPLETIONS, json={"prompt": "a", "stream": True})
        assert answer.status_code == 200, "the first token was on its way"
        *chunks, last = events(answer)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "Hel"
        assert last["error"]["code"] == "replica_lost"
        assert last["error"]["type"] == "server_error"
        assert b"[DONE]" not in answer.content
        whole = await client.post(COMPLETIONS, json={"prompt": "a"})
        assert whole.status_code == 502
        assert whole.json()["error"]["code"] == "replica_lost"
    assert outcome(served, "replica_lost") == 2
    async with served.openai() as client_:
        with pytest.raises(openai.APIError, match="lost"):
            async for _ in await client_.completions.create(model="bytes", prompt="a", stream=True):
                pass


async def test_without_replicas_the_gateway_lives_but_is_not_ready(served: Served) -> None:
    served.replica.is_up = False
    async with served.http() as client:

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        async def is_not_ready() -> bool:
            return (await client.get("/readyz")).status_code == 503

        await eventually_answers(is_not_ready, "the replica is gone")
        assert (await client.get("/healthz")).status_code == 200
        answer = await client.post(COMPLETIONS, json={"prompt": "a"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "server_error"
        served.replica.is_up = True
        await eventually_answers(is_ready, "the replica is back")
        assert (await client.post(COMPLETIONS, json={"prompt": "a"})).status_code == 200


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    return [
        json.loads(line.removeprefix("data: "))
        for line in answer.text.splitlines()
        if line.startswith("data: {")
    ]
