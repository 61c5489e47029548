"""A client that lost its gateway goes on at another one, after any event it had.

Every answer is read once undisturbed; then, for every place in it, another
gateway is asked for what follows. The replica either holds the choices for
whoever adopts them, or has forgotten them and computes them again. Power: not
splitting a delta that is half known, marking an event before its text is sent,
or making up another date or id, each fail here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest

from protos import inference_pb2 as pb
from protos.inference_pb2_grpc import InferenceStub
from protos.messages import RequestId
from tests.integration.gateway.conftest import Served

ANSWER = "né日🙂 STOP!".encode()
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
TEXT: dict[str, Any] = {"prompt": "Hi", "max_tokens": 30}


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    id: str
    data: str


async def post(
    served: Served, path: str, body: dict[str, Any], *, last: str | None = None
) -> list[Event]:
    async with served.http() as client:
        return await events_of(client, path, body, last)


async def events_of(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], last: str | None
) -> list[Event]:
    headers = {} if last is None else {"last-event-id": last}
    response = await client.post(path, json={"stream": True, **body}, headers=headers)
    assert response.status_code == 200, response.text
    if last is not None:
        assert response.headers["x-blockyard-resumed"] == "true"
    events = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        events.append(Event(fields.get("id", ""), fields["data"]))
    assert events.pop().data == "[DONE]"
    return events


def of_index(events: list[Event], index: int) -> list[str]:
    return [event.data for event in events if f'"index":{index},' in event.data]


@dataclass
class Sum:
    """What a client makes of chunks."""

    texts: dict[int, str]
    logprobs: dict[int, list[Any]]
    finishes: dict[int, list[str]]
    roles: dict[int, int]
    usage: list[Any]
    envelopes: set[tuple[Any, ...]]


def summed(events: list[Event]) -> Sum:
    total = Sum({}, {}, {}, {}, [], set())
    for chunk in (json.loads(event.data) for event in events):
        assert "error" not in chunk, chunk
        total.envelopes.add((chunk["id"], chunk["created"], chunk["system_fingerprint"]))
        if chunk.get("usage"):
            total.usage.append(chunk["usage"])
        for choice in chunk["choices"]:
            index = choice["index"]
            delta = choice.get("delta", {})
            text = choice.get("text", "") or delta.get("content") or ""
            total.texts[index] = total.texts.get(index, "") + text
            total.roles[index] = total.roles.get(index, 0) + ("role" in delta)
            said = choice["logprobs"] or {}
            tokens = said.get("content") or list(
                zip(said.get("tokens", ()), said.get("text_offset", ()), strict=True)
            )
            total.logprobs.setdefault(index, []).extend(tokens)
            if choice["finish_reason"]:
                total.finishes.setdefault(index, []).append(choice["finish_reason"])
    return total


WISHES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "chat_of_two": (
        "/v1/chat/completions",
        {**CHAT, "n": 2, "stream_options": {"include_usage": True}},
    ),
    "chat_logprobs": (
        "/v1/chat/completions",
        {**CHAT, "n": 2, "logprobs": True, "top_logprobs": 1, "stop": ["STOP"]},
    ),
    "text": ("/v1/completions", {**TEXT, "stream_options": {"include_usage": True}}),
    "text_stop": ("/v1/completions", {**TEXT, "n": 2, "stop": ["STOP", "🙂 S"], "logprobs": 1}),
    "text_cut": ("/v1/completions", {**TEXT, "max_tokens": 3, "seed": 5}),
}


@pytest.mark.parametrize("wish", WISHES)
async def test_what_was_forgotten_is_computed_again_and_every_event_is_the_one_there_was(
    served: Served, other: Served, wish: str
) -> None:
    path, body = WISHES[wish]
    served.replica.answer = ANSWER
    events = await post(served, path, body)
    (request, *_) = served.replica.requests
    async with other.http() as client:
        for place, event in enumerate(events, start=1):
            rest = await events_of(client, path, body, event.id)
            for choice in range(request.choices):  # which interleave as they come
                assert of_index(rest, choice) == of_index(events[place:], choice)
            assert rest == events[place:] or request.choices > 1
            assert summed(events[:place] + rest) == summed(events)
    for again in served.replica.requests:
        assert (again.request_id, again.prompt) == (request.request_id, request.prompt)
        assert again.sampling == request.sampling


@pytest.mark.parametrize("wish", WISHES)
async def test_what_waits_is_adopted_and_the_client_has_the_whole_answer(
    served: Served, other: Served, wish: str
) -> None:
    path, body = WISHES[wish]
    served.replica.answer = ANSWER
    events = await post(served, path, body)
    (request, *_) = served.replica.requests
    undisturbed = summed(events)
    async with other.http() as client:
        for place, event in enumerate(events, start=1):
            for ahead in (0, 3, 100):  # the replica said more than the client has
                served.replica.parked = {
                    (request.request_id, choice): min(
                        place + ahead, len(ANSWER) + 1 + choice, request.sampling.tokens_max
                    )
                    for choice in range(request.choices)
                }
                asked = len(served.replica.requests)
                rest = await events_of(client, path, body, event.id)
                assert summed(events[:place] + rest) == undisturbed
                assert len(served.replica.requests) == asked, "nothing was computed again"


async def test_a_gateway_is_asked_again_while_it_still_works_for_the_lost_client(
    served: Served,
) -> None:
    """The old connection hangs; the new one ends its request and goes on."""
    path, body = WISHES["chat"]
    served.replica.answer = b"Hello!"
    served.replica.held_after = 3
    async with (
        served.http() as client,
        client.stream("POST", path, json={"stream": True, **body}) as response,
    ):
        seen: list[str] = []
        async for line in response.aiter_lines():
            seen.append(line)
            if line.startswith("data") and '"l"' in line:
                break
        last = [line.removeprefix("id: ") for line in seen if line.startswith("id: ")][-1]
        served.replica.held_after = None
        rest = summed(await post(served, path, body, last=last))
    assert rest.texts == {0: "lo!"}
    assert rest.roles == {0: 0}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"messages": [{"role": "user", "content": "Ho"}]}, "resume_token_mismatch"),
        ({"n": 2}, "resume_token_mismatch"),
        ({"stop": ["x"]}, "resume_token_mismatch"),
        ({"temperature": 0.5}, "resume_token_mismatch"),
        ({"seed": 4}, "resume_token_mismatch"),
        ({"stream": False}, "resume_token_mismatch"),
    ],
)
async def test_another_request_is_refused(
    served: Served, other: Served, change: dict[str, Any], code: str
) -> None:
    path, body = WISHES["chat"]
    last = (await post(served, path, body))[2].id
    async with other.http() as client:
        refused = await client.post(
            path, json={"stream": True, **body, **change}, headers={"last-event-id": last}
        )
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == code
    assert refused.json()["error"]["param"] == "Last-Event-ID"


async def test_a_stranger_with_an_event_id_cannot_end_the_stream_that_it_names(
    served: Served,
) -> None:
    served.replica.held_after = 3
    path, body = "/v1/completions", TEXT
    async with (
        served.http() as client,
        served.http() as stranger,
        client.stream("POST", path, json={"stream": True, **body}) as response,
    ):
        lines = response.aiter_lines()
        said = [line async for line in first_lines(lines, 2)]
        known = next(line for line in said if line.startswith("id: ")).removeprefix("id: ")
        refused = await stranger.post(
            path,
            json={"stream": True, **body, "prompt": "Other"},
            headers={"last-event-id": known},
        )
        assert refused.json()["error"]["code"] == "resume_token_mismatch"
        served.replica.release.set()
        rest = [line async for line in lines]
    assert "data: [DONE]" in rest
    assert not [line for line in rest if "error" in line]


async def first_lines(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    """So many that are not empty, without closing what they come from."""
    while count:
        line = await anext(lines)
        count -= bool(line)
        yield line


@pytest.mark.parametrize(
    "word",
    ["7", "x.1", "WzFd.1", ".", "WzEsIm1pbmUiLDAsInIxIiwxMDIyLDIsIjZmZjNkZjk3Y2I0MTk2ZTUiXQ"],
)
async def test_what_is_no_event_id_of_ours_is_refused(served: Served, word: str) -> None:
    path, body = WISHES["chat"]
    async with served.http() as client:
        refused = await client.post(
            path, json={"stream": True, **body}, headers={"last-event-id": word}
        )
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "resume_token_malformed"


async def test_several_prompts_have_no_event_ids(served: Served) -> None:
    events = await post(served, "/v1/completions", {**TEXT, "prompt": ["a", "b"]})
    assert {event.id for event in events} == {""}
    last = (await post(served, *WISHES["text"]))[1].id
    async with served.http() as client:
        refused = await client.post(
            "/v1/completions",
            json={**TEXT, "prompt": ["a", "b"], "stream": True},
            headers={"last-event-id": last},
        )
    assert refused.json()["error"]["code"] == "resume_token_mismatch"


# ---- gRPC


async def generate(served: Served, request: pb.GenerateRequest) -> list[pb.GenerateEvent]:
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        stub: Any = InferenceStub(channel)  # type: ignore[no-untyped-call]
        return [event async for event in stub.Generate(request, timeout=20)]


@pytest.mark.parametrize("is_parked", [False, True])
async def test_a_grpc_answer_goes_on_after_any_event(
    served: Served, other: Served, is_parked: bool
) -> None:
    served.replica.answer = ANSWER
    options = pb.SamplingOptions(n=2, stop=["STOP"], logprobs=1)
    asked = pb.GenerateRequest(text="Say", sampling=options)
    started, *events = await generate(served, asked)
    request_id = RequestId(started.started.request_id)
    tokens, finished = [0, 0], set[int]()
    for place, event in enumerate(events, start=1):
        if event.HasField("chunk"):
            tokens[event.chunk.choice] += len(event.chunk.tokens)
        if event.HasField("finished"):
            finished.add(event.finished.choice)
        asked.resume_token = started.started.resume_token
        asked.resumed_tokens[:], asked.resumed_finished[:] = tokens, sorted(finished)
        if is_parked:
            served.replica.parked = {(request_id, choice): tokens[choice] for choice in (0, 1)}
        again, *rest = await generate(other, asked)
        assert again.started.request_id == request_id
        assert again.started.resume_token == started.started.resume_token
        expected = events[place:] or events[-1:]  # the usage is always last
        for choice in (0, 1):
            assert of_choice(rest, choice) == of_choice(expected, choice)
        assert rest[-1] == events[-1]
    assert bool(served.replica.adopted) is is_parked


def of_choice(events: list[pb.GenerateEvent], choice: int) -> tuple[str, list[int], list[str]]:
    chunks = [e.chunk for e in events if e.HasField("chunk") and e.chunk.choice == choice]
    ends = [e.finished.reason for e in events if e.HasField("finished")]
    of = [e.finished.choice for e in events if e.HasField("finished")]
    return (
        "".join(chunk.text for chunk in chunks),
        [token.id for chunk in chunks for token in chunk.tokens],
        [end for end, whose in zip(ends, of, strict=True) if whose == choice],
    )


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"resume_token": "nonsense", "resumed_tokens": [1]}, "resume_token_malformed"),
        ({"resume_token": "WzFd", "resumed_tokens": [1, 2]}, "invalid_value"),
        ({"resumed_tokens": [1]}, "invalid_value"),
    ],
)
async def test_a_wrong_resume_token_is_an_invalid_argument(
    served: Served, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await generate(served, pb.GenerateRequest(text="Say", **fields))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ("error-code", code) in tuple(refused.value.trailing_metadata() or ())


# ---- the record of decisions


async def test_decisions_can_be_looked_up_by_the_id_of_an_answer(served: Served) -> None:
    async with served.http() as client:
        answer = (await client.post("/v1/chat/completions", json=CHAT)).json()
        record = (await client.get(f"/v1/decisions/{answer['id']}")).json()
        unknown = await client.get("/v1/decisions/nobody")
    assert answer["id"].endswith(record["request_id"])
    (placed,) = record["events"]
    assert placed["candidates"][0]["replica"] == placed["replica"]
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "request_not_found"
