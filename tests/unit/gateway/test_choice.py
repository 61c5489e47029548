from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.gateway.choice import ChoiceText, Piece
from orchestrator.gateway.tokenizer import Tokenizer
from protos.messages import Delta, FinishReason, RequestId, SampledToken
from tests.unit.gateway.byte_model import END, byte_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return byte_tokenizer(tmp_path_factory.mktemp("model"))


def choice(tokenizer: Tokenizer, *stop: str, tokens_min: int = 0) -> ChoiceText:
    return ChoiceText(tokenizer, stop=stop, stop_token_ids=[END, ord("!")], tokens_min=tokens_min)


def delta(first_index: int, tokens: bytes | list[int], finish: FinishReason | None = None) -> Delta:
    return Delta(
        RequestId("r"), 0, first_index, tuple(SampledToken(token) for token in tokens), finish
    )


def follow(text: ChoiceText, chunks: list[bytes], finish: FinishReason) -> list[Piece]:
    """Feeds chunks until the choice finishes by itself, or with the last of them."""
    pieces: list[Piece] = []
    index = 0
    for place, chunk in enumerate(chunks):
        last = place == len(chunks) - 1
        pieces.append(text.feed(delta(index, chunk, finish if last else None)))
        index += len(chunk)
        if text.finished:
            break
    return pieces


def test_a_stop_token_ends_the_choice_and_has_no_text(tokenizer: Tokenizer) -> None:
    piece = choice(tokenizer).feed(delta(0, b"Hi!", FinishReason.STOP))
    assert (piece.text, piece.finish, len(piece.tokens)) == ("Hi", FinishReason.STOP, 3)


def test_the_same_token_in_the_middle_is_text(tokenizer: Tokenizer) -> None:
    """With min_tokens it can be sampled before the choice may stop."""
    piece = choice(tokenizer).feed(delta(0, b"!Hi!", FinishReason.LENGTH))
    assert piece.text == "!Hi!"


def test_a_stop_string_ends_the_choice_and_the_rest_never_was(tokenizer: Tokenizer) -> None:
    text = choice(tokenizer, "\n\n")
    assert text.feed(delta(0, b"one\n")).text == "one"
    piece = text.feed(delta(4, b"\ntwo", FinishReason.LENGTH))
    assert (piece.text, piece.finish) == ("", FinishReason.STOP)
    assert [sampled.token for sampled in piece.tokens] == [ord("\n")]
    assert text.finished


def test_half_a_stop_string_is_shown_when_the_choice_ends_otherwise(tokenizer: Tokenizer) -> None:
    text = choice(tokenizer, "STOP")
    assert text.feed(delta(0, b"a ST")).text == "a "
    piece = text.feed(delta(4, [END], FinishReason.STOP))
    assert (piece.text, piece.finish) == ("ST", FinishReason.STOP)


def test_a_stop_string_does_not_count_before_the_least_number_of_tokens(
    tokenizer: Tokenizer,
) -> None:
    text = choice(tokenizer, "ab", tokens_min=3)
    assert text.feed(delta(0, b"ab")).finish is None
    assert text.feed(delta(2, b"a")).text == "a", "nor does its beginning"
    assert text.feed(delta(3, b"b")).text == "b"
    assert text.feed(delta(4, b"ab")).finish is FinishReason.STOP


def test_half_a_character_at_the_end_is_shown_as_broken(tokenizer: Tokenizer) -> None:
    piece = choice(tokenizer).feed(delta(0, b"a\xe2", FinishReason.LENGTH))
    assert (piece.text, piece.finish) == ("a\ufffd", FinishReason.LENGTH)


def test_even_a_broken_character_can_be_a_stop_string(tokenizer: Tokenizer) -> None:
    piece = choice(tokenizer, "\ufffd").feed(delta(0, b"a\xe2", FinishReason.LENGTH))
    assert (piece.text, piece.finish) == ("a", FinishReason.STOP)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.binary(max_size=6).map(lambda raw: raw.replace(b"!", b"")), min_size=1, max_size=8),
    st.lists(st.text("ab\x80é", min_size=1, max_size=3), max_size=2),
    st.integers(0, 6),
)
def test_the_outcome_does_not_depend_on_how_tokens_came_in_deltas(
    tokenizer: Tokenizer, chunks: list[bytes], stops: list[str], tokens_min: int
) -> None:
    def outcome(parts: list[bytes]) -> tuple[str, int, FinishReason | None]:
        text = choice(tokenizer, *stops, tokens_min=tokens_min)
        pieces = follow(text, parts, FinishReason.LENGTH)
        shown = "".join(piece.text for piece in pieces)
        return shown, sum(len(piece.tokens) for piece in pieces), pieces[-1].finish

    tokens = b"".join(chunks)
    one_by_one = [bytes([token]) for token in tokens] or [b""]
    assert outcome(chunks) == outcome(one_by_one) == outcome([tokens])
