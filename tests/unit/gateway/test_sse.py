from __future__ import annotations

import json
from typing import Any

from orchestrator.gateway.choice import Piece
from orchestrator.gateway.replies import ChatReply, CompletionReply, Envelope, usage
from orchestrator.gateway.sse import EventWriter, error_event
from protos.messages import FinishReason, SampledToken

ENVELOPE = Envelope(id="x-1", created=7, model='a"b', fingerprint="f")


def piece(
    text: str, finish: FinishReason | None = None, *, choice: int = 0, token: int = 65
) -> Piece:
    return Piece(choice, 0, (SampledToken(token, -0.5, ((66, -1.5),)),), text, finish)


def spell(token: int) -> bytes:
    return bytes([token])


def events(raw: bytes) -> list[dict[str, Any]]:
    parts = raw.decode().split("\n\n")
    assert parts.pop() == ""
    return [json.loads(part.removeprefix("data: ")) for part in parts]


def test_a_chat_opens_with_the_role_and_closes_with_the_reason() -> None:
    writer = EventWriter(ChatReply(ENVELOPE, None), include_usage=False)
    opening, content = events(writer.piece(piece('say "hi"\n\n\u2028')))
    assert opening == {
        "id": "x-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": 'a"b',
        "system_fingerprint": "f",
        "choices": [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": ""},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
    }
    assert content["choices"][0]["delta"] == {"content": 'say "hi"\n\n\u2028'}
    last, ending = events(writer.piece(piece("!", FinishReason.LENGTH)))
    assert last["choices"][0]["delta"] == {"content": "!"}
    assert ending["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "length",
    }


def test_a_piece_that_shows_nothing_is_no_event() -> None:
    writer = EventWriter(CompletionReply(ENVELOPE, None), include_usage=False)
    assert writer.piece(piece("")) == b""
    (ending,) = events(writer.piece(piece("", FinishReason.STOP)))
    assert ending["choices"][0]["finish_reason"] == "stop"


def test_a_token_with_its_log_probability_is_sent_even_without_text() -> None:
    writer = EventWriter(ChatReply(ENVELOPE, spell), include_usage=False)
    _, content = events(writer.piece(piece("")))
    assert content["choices"][0]["logprobs"]["content"][0]["token"] == "A"


def test_offsets_of_tokens_go_on_from_chunk_to_chunk() -> None:
    writer = EventWriter(CompletionReply(ENVELOPE, spell), include_usage=False)
    offsets = [
        events(writer.piece(piece("A")))[0]["choices"][0]["logprobs"]["text_offset"]
        for _ in range(3)
    ]
    assert offsets == [[0], [1], [2]]


def test_with_usage_every_chunk_has_the_field_and_the_last_one_has_no_choices() -> None:
    writer = EventWriter(CompletionReply(ENVELOPE, None), include_usage=True)
    (content,) = events(writer.piece(piece("a")))
    assert content["usage"] is None
    (last,) = events(writer.usage(usage(prompt_tokens=3, completion_tokens=2, hit_tokens=1)))
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5


def test_an_error_is_one_event() -> None:
    assert error_event({"error": {"code": "x"}}) == b'data: {"error":{"code":"x"}}\n\n'
