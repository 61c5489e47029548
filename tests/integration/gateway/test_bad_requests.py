"""Whatever a client sends wrong: a clear answer in OpenAI's form, and the next client is served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import openai
import pytest

from orchestrator.gateway.body import BODY_BYTES_MAX, DRAIN_BYTES_MAX
from protos.messages import RefusalReason
from tests.integration.gateway.conftest import Served
from tests.integration.gateway.scripted import CARD

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
USER = {"role": "user", "content": "Hi"}
JSON = {"content-type": "application/json"}


async def assert_still_serves(client: httpx.AsyncClient) -> None:
    answer = await client.post(COMPLETIONS, json={"prompt": "Say"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["text"] == "Hello!"


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error object of an answer in OpenAI's form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"] and error["code"]
    return error


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b'{"model": "bytes", ', "not JSON"),
        (b'{"prompt": "a", "temperature": NaN}', "NaN is not a JSON number"),
        (b'{"prompt": "a", "temperature": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"prompt": "\xff\xfe"}', "not valid UTF-8"),
        (b'{"prompt": "\\ud800"}', "surrogate"),
        (b'{"prompt": ' + b"[" * 200_000, "nested too deeply"),
        (b'{"prompt": "a", "max_tokens": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'["prompt"]', "must be a JSON object"),
        (b"null", "must be a JSON object"),
    ],
)
async def test_a_body_that_is_not_right_json(served: Served, body: bytes, says: str) -> None:
    async with served.http() as client:
        error = problem(await client.post(COMPLETIONS, content=body, headers=JSON), 400)
        assert error["code"] == "invalid_json"
        assert says in error["message"]
        await assert_still_serves(client)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": "gpt-9"}, "model", "model_not_found"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages", "invalid_conversation"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "invalid_value"),
        ({"max_tokens": -1}, "max_tokens", "invalid_value"),
        ({"max_tokens": 10**30}, "max_tokens", "invalid_value"),
        ({"max_tokens": "many"}, "max_tokens", "invalid_value"),
        ({"temperature": -1}, "temperature", "invalid_value"),
        ({"temperature": True}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"seed": 2**70}, "seed", "invalid_value"),
        ({"stop": [""] * 3}, "stop", "invalid_value"),
        ({"stop_token_ids": [CARD.vocab_size]}, "stop_token_ids", "token_out_of_range"),
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"structured_outputs": {"regex": "a("}}, "structured_outputs.regex", "invalid_value"),
        ({"max_tokenz": 5}, "max_tokenz", "unsupported_parameter"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_with_a_wrong_field(
    served: Served, fields: dict[str, Any], param: str, code: str, stream: bool
) -> None:
    async with served.http() as client:
        body = {"messages": [USER], "stream": stream, **fields}
        error = problem(await client.post(CHAT, json=body), 404 if param == "model" else 400)
        assert (error["param"], error["code"]) == (param, code)
        assert error["type"] == "invalid_request_error"
        assert served.replica.requests == []
        await assert_still_serves(client)


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("", "empty_prompt"),
        ([], "invalid_value"),
        ([[]], "empty_prompt"),
        ([1, CARD.vocab_size], "token_out_of_range"),
        ([1, -1], "token_out_of_range"),
        ([1, 10**30], "token_out_of_range"),
        ([1, 1.5], "invalid_value"),
        ("a" * CARD.context_tokens_max, "context_length_exceeded"),
        ("a" * 100_000, "context_length_exceeded"),
    ],
)
async def test_a_prompt_that_no_replica_could_take(
    served: Served, prompt: object, code: str
) -> None:
    async with served.http() as client:
        error = problem(await client.post(COMPLETIONS, json={"prompt": prompt}), 400)
        assert error["code"] == code
        assert served.replica.requests == []
        await assert_still_serves(client)


async def test_a_prompt_larger_than_every_replica(served: Served) -> None:
    async with served.http() as client:
        body = {"prompt": "a" * 3000, "max_tokens": 1}
        error = problem(await client.post(COMPLETIONS, json=body), 400)
        assert error["code"] == "never_fits"
        await assert_still_serves(client)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_replica_refuses(served: Served, stream: bool) -> None:
    served.replica.refusal = RefusalReason.INVALID
    async with served.http() as client:
        answer = await client.post(COMPLETIONS, json={"prompt": "a", "stream": stream})
        problem(answer, 400)
        served.replica.refusal = RefusalReason.QUEUE_FULL
        answer = await client.post(COMPLETIONS, json={"prompt": "a", "stream": stream})
        error = problem(answer, answer.status_code)
        assert answer.status_code in (429, 503), error
        assert int(answer.headers["retry-after"]) >= 1
        served.replica.refusal = None
        await assert_still_serves(client)


async def test_a_body_over_the_limit_is_refused_by_its_length(served: Served) -> None:
    body = json.dumps({"prompt": "a" * BODY_BYTES_MAX}).encode()
    async with served.http() as client:
        error = problem(await client.post(COMPLETIONS, content=body, headers=JSON), 413)
        assert error["code"] == "request_too_large"
        await assert_still_serves(client)


async def chunks(total: int, sent: list[int]) -> AsyncIterator[bytes]:
    """A body without a declared length."""
    yield b'{"prompt": "'
    while sum(sent) < total:
        sent.append(2**16)
        yield b"a" * 2**16


async def test_a_body_over_the_limit_is_refused_while_it_comes(served: Served) -> None:
    async with served.http() as client:
        body = chunks(3 * BODY_BYTES_MAX, [])
        error = problem(await client.post(COMPLETIONS, content=body, headers=JSON), 413)
        assert error["code"] == "request_too_large"
        await assert_still_serves(client)


async def test_a_body_without_end_is_cut_off(served: Served) -> None:
    sent: list[int] = []
    async with served.http() as client:
        body = chunks(100 * DRAIN_BYTES_MAX, sent)
        with suppress(httpx.TransportError):  # the answer may be lost with the connection
            problem(await client.post(COMPLETIONS, content=body, headers=JSON), 413)
        assert sum(sent) < 2 * DRAIN_BYTES_MAX
        await assert_still_serves(client)


async def test_a_client_that_asks_before_it_sends_is_told_not_to(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.ports.http)
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: 5000000\r\nexpect: 100-continue\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "text/plain"}, {"content-type": "multipart/form-data"}]
)
async def test_a_body_of_another_type(served: Served, headers: dict[str, str]) -> None:
    async with served.http() as client:
        answer = await client.post(COMPLETIONS, content=b'{"prompt": "a"}', headers=headers)
        assert problem(answer, 415)["code"] == "unsupported_media_type"
        await assert_still_serves(client)


async def test_json_may_name_its_charset(served: Served) -> None:
    async with served.http() as client:
        headers = {"content-type": "Application/JSON; charset=utf-8"}
        answer = await client.post(COMPLETIONS, content=b'{"prompt": "a"}', headers=headers)
        assert answer.status_code == 200


async def test_no_such_route_and_no_such_method(served: Served) -> None:
    async with served.http() as client:
        assert problem(await client.get("/v1/nothing"), 404)["code"] == "not_found"
        assert problem(await client.get(CHAT), 405)["code"] == "method_not_allowed"
        assert problem(await client.post("/healthz"), 405)["code"] == "method_not_allowed"
        await assert_still_serves(client)


async def test_openais_client_raises_its_own_errors(served: Served) -> None:
    async with served.openai() as client:
        with pytest.raises(openai.BadRequestError) as too_long:
            await client.completions.create(model="bytes", prompt="a" * 5000)
        with pytest.raises(openai.NotFoundError):
            await client.completions.create(model="gpt-9", prompt="a")
        with pytest.raises(openai.BadRequestError) as unsupported:
            await client.completions.create(model="bytes", prompt="a", echo=True)
    assert too_long.value.code == "context_length_exceeded"
    assert (unsupported.value.code, unsupported.value.param) == ("unsupported_parameter", "echo")
