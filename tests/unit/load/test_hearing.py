"""What counts of an answer, and when it is whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.load.events import Event, NotEvents
from orchestrator.load.hearing import Hearing, error_code


def hear(hearing: Hearing, *chunks: dict[str, Any] | str, at_s: float = 1.0) -> Hearing:
    for chunk in chunks:
        data = chunk if isinstance(chunk, str) else json.dumps(chunk)
        hearing.take(Event("id", data.encode()), at_s)
    return hearing


def choice(index: int = 0, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "finish_reason": finish, **fields}]}


def test_the_opening_of_a_chat_is_no_token() -> None:
    hearing = hear(Hearing(1), choice(delta={"role": "assistant", "content": ""}))
    assert (hearing.first_s, hearing.tokens) == (None, 0)
    hear(hearing, choice(delta={"content": "Yes"}), at_s=2.0)
    assert (hearing.first_s, hearing.tokens, hearing.said) == (2.0, 1, ("Yes",))


@pytest.mark.parametrize("name", ["content", "reasoning_content", "reasoning"])
def test_what_a_model_thinks_is_generated_too(name: str) -> None:
    hearing = hear(Hearing(1), choice(delta={"content": None, name: "Hm"}))
    assert (hearing.first_s, hearing.said) == (1.0, ("Hm",))


def test_gaps_are_between_tokens_of_all_choices() -> None:
    hearing = Hearing(2)
    for at_s, index in ((1.0, 0), (1.5, 1), (4.0, 0)):
        hear(hearing, choice(index, text="a"), at_s=at_s)
    assert hearing.gaps_s == [0.5, 2.5]
    assert hearing.said == ("aa", "a")


def test_an_answer_is_whole_when_every_choice_has_ended_and_it_is_done() -> None:
    hearing = hear(Hearing(2), choice(0, "stop", text="a"), "[DONE]")
    assert not hearing.is_whole
    assert hear(hearing, choice(1, "length", text="")).is_whole


def test_the_number_of_tokens_is_the_servers_where_it_tells_it() -> None:
    hearing = hear(Hearing(1), choice(text="several at once"), {"choices": [], "usage": None})
    assert hearing.tokens == 1
    hear(hearing, {"choices": [], "usage": {"completion_tokens": 5, "prompt_tokens": 3}})
    assert (hearing.tokens, hearing.prompt_tokens, hearing.hit_tokens) == (5, 3, 0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"message": "m", "code": "overloaded", "type": "t"}}, "overloaded"),  # ours
        ({"error": {"message": "m", "code": 400, "type": "invalid"}}, "invalid"),  # llama.cpp
        ({"object": "error", "message": "m", "code": 400, "type": "BadRequest"}, "BadRequest"),
        ({"error": {"message": "m"}}, "http_400"),
        ({"error": "model not found"}, "model not found"),
        ({"detail": "Not Found"}, ""),
        ("Bad Gateway", ""),
        ([], ""),
    ],
)
def test_an_error_is_known_by_its_code_or_else_its_type(body: object, code: str) -> None:
    assert error_code(body, 400) == code


NAMES = st.sampled_from(
    ["choices", "index", "text", "delta", "content", "finish_reason", "usage", "prompt_tokens"]
    + ["prompt_tokens_details", "cached_tokens", "completion_tokens", "error"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_whatever_a_stranger_sends_is_heard_or_refused(chunk: object) -> None:
    hearing = Hearing(1)
    try:
        hearing.take(Event("", json.dumps(chunk).encode()), 1.0)
    except NotEvents:
        return
    assert isinstance(hearing.tokens + hearing.prompt_tokens + hearing.hit_tokens, int)
    assert all(isinstance(text, str) for text in hearing.said)
    assert isinstance(hearing.error_code, str)
