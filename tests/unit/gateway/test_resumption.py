"""What makes an answer resumable: text that depends on tokens alone, and ids that say how much.

Power: feeding a half-known delta whole, or letting the stop strings look at a
delta instead of a token, fails the first test.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.gateway.ask import Ask, Options, Tokens
from orchestrator.gateway.choice import ChoiceText, Piece
from orchestrator.gateway.errors import InvalidRequest
from orchestrator.gateway.event_ids import EventIds, Mark, parse_event_id
from orchestrator.gateway.resumption import Origin, Resumption, decode_origin, parted
from orchestrator.gateway.tokenizer import Tokenizer
from protos.messages import (
    Delta,
    FinishReason,
    Request,
    RequestClass,
    RequestId,
    SampledToken,
    SamplingParams,
)
from tests.unit.gateway.byte_model import END, byte_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return byte_tokenizer(tmp_path_factory.mktemp("model"))


# ---- text is a function of the tokens, however they come


def deltas(tokens: list[int], cuts: set[int], finish: FinishReason) -> list[Delta]:
    """The same tokens, cut at some places; the last delta finishes."""
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(tokens)), len(tokens)]
    return [
        Delta(
            RequestId("r"),
            0,
            start,
            tuple(SampledToken(token) for token in tokens[start:stop]),
            finish if stop == len(tokens) else None,
        )
        for start, stop in pairwise(places)
    ]


def pieces(
    tokenizer: Tokenizer, parts: list[Delta], stop: list[str], tokens_min: int, known: int
) -> list[Piece]:
    text = ChoiceText(tokenizer, stop=stop, stop_token_ids=[END], tokens_min=tokens_min)
    found = []
    for part in (piece for whole in parts for piece in parted(whole, known)):
        if not text.finished:
            found.append(text.feed(part))
    return found


tokens_of_text = st.lists(
    st.sampled_from([*"né日🙂ab STOP".encode(), 0xFF, END]), min_size=1, max_size=24
)
stops = st.lists(st.sampled_from(["STOP", "ab", "b S", "🙂", "aba", "\ufffd"]), max_size=3)
places = st.sets(st.integers(1, 23))


@settings(deadline=None)
@given(
    tokens_of_text,
    places,
    places,
    stops,
    st.integers(0, 6),
    st.sampled_from([FinishReason.STOP, FinishReason.LENGTH]),
    st.integers(0, 24),
)
def test_what_follows_known_tokens_is_what_would_have_followed(
    tokenizer: Tokenizer,
    tokens: list[int],
    cuts: set[int],
    other_cuts: set[int],
    stop: list[str],
    tokens_min: int,
    finish: FinishReason,
    known: int,
) -> None:
    """One client's events end after `known` tokens; another gateway's deltas are cut otherwise."""
    undisturbed = pieces(tokenizer, deltas(tokens, cuts | {known}, finish), stop, tokens_min, 0)
    again = pieces(tokenizer, deltas(tokens, other_cuts, finish), stop, tokens_min, known)

    def after(found: list[Piece]) -> tuple[str, list[SampledToken], FinishReason | None]:
        rest = [piece for piece in found if piece.first_index >= known]
        said = [token for piece in rest for token in piece.tokens]
        return "".join(piece.text for piece in rest), said, found[-1].finish

    assert after(again) == after(undisturbed)


# ---- ids

ORIGIN = Origin(RequestId("r-1"), 17, "rev", 99, 16)
REQUEST = Request(RequestId("r-1"), (1, 2), SamplingParams(tokens_max=99), choices=2)


marks = st.lists(
    st.builds(Mark, st.just(True), st.integers(0, 10**9), st.booleans()) | st.builds(Mark),
    min_size=1,
    max_size=16,
)


@given(marks, st.booleans())
def test_an_event_id_is_read_as_it_was_written(what: list[Mark], has_usage: bool) -> None:
    line = EventIds(ORIGIN, what).line(has_usage=has_usage)
    assert line.startswith("id: ") and line.endswith("\n")
    read = parse_event_id(line.removeprefix("id: ").rstrip("\n"))
    assert (read.origin, list(read.marks), read.has_usage) == (ORIGIN, what, has_usage)


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[-0-9f,u]{0,9}", fullmatch=True))
def test_any_other_word_is_refused(word: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_event_id(word)
    assert refused.value.code == "resume_token_malformed"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9))
def test_any_other_json_is_refused(value: object) -> None:
    word = base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    with pytest.raises(InvalidRequest):
        decode_origin(word, param="resume_token")


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, prompt=(1, 3)),
        replace(REQUEST, choices=1),
        replace(REQUEST, salt=b"another"),
        replace(REQUEST, sampling=SamplingParams(tokens_max=99, seed=1)),
    ],
)
def test_a_token_fits_its_own_request_and_no_other(other: Request) -> None:
    origin = ORIGIN.sealed(REQUEST, ["x"])
    shown = Resumption(origin, (0, 0), frozenset(), "resume_token")
    shown.check(REQUEST, ["x"])
    urgent = replace(REQUEST, request_class=RequestClass.BATCH)
    shown.check(urgent, ["x"])  # how urgent it is changes no token
    for request, stop in ((other, ["x"]), (REQUEST, ["y"])):
        with pytest.raises(InvalidRequest) as refused:
            shown.check(request, stop)
        assert refused.value.code == "resume_token_mismatch"


def test_what_the_client_left_open_is_what_it_was_the_first_time() -> None:
    shown = Resumption(ORIGIN, (5,), frozenset(), "resume_token")
    ask = Ask(RequestId("new"), Tokens((1, 2)), Options())
    assert shown.restored(ask) == replace(
        ask, request_id=RequestId("r-1"), options=Options(max_tokens=99)
    )
    given = replace(ask, options=Options(max_tokens=7))
    assert shown.restored(given).options.max_tokens == 7


def test_an_origin_whose_id_a_terminal_would_obey_is_none_of_ours() -> None:
    word = Origin(RequestId("\x1b[2J"), 1, "r", 1, 0).encode()
    with pytest.raises(InvalidRequest, match="resume_token"):
        decode_origin(word, param="resume_token")
