from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.gateway.detokenizer import Detokenizer
from orchestrator.gateway.tokenizer import Tokenizer
from tests.unit.gateway.byte_model import END, VOCAB_SIZE, byte_tokenizer, raw_tokenizer, text_of


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return byte_tokenizer(tmp_path_factory.mktemp("model"))


RAW = raw_tokenizer()

# Bytes around the edges of UTF-8: continuation, leads of two, three and four
# bytes, surrogates, overlong forms, and bytes that are never right.
EDGES = st.sampled_from((0x41, 0x80, 0xBF, 0xC0, 0xC3, 0xE2, 0x82, 0xAC, 0xED, 0xA0, 0xF0, 0x9F))
TOKENS = st.lists(st.one_of(EDGES, st.integers(0, VOCAB_SIZE - 1)), max_size=40)


@settings(max_examples=500, deadline=None)
@given(TOKENS)
def test_the_texts_of_all_feeds_are_the_text_of_all_tokens(
    tokenizer: Tokenizer, tokens: list[int]
) -> None:
    detokenizer = Detokenizer(tokenizer)
    streamed = "".join(map(detokenizer.feed, tokens)) + detokenizer.flush()
    assert streamed == RAW.decode(tokens, skip_special_tokens=True)
    assert streamed == text_of(tokenizer, tokens)


@given(st.text())
def test_no_feed_ends_within_a_character(tokenizer: Tokenizer, text: str) -> None:
    detokenizer = Detokenizer(tokenizer)
    shown = ""
    for byte in text.encode(errors="ignore"):
        shown += detokenizer.feed(byte)
        assert text.startswith(shown)
    assert detokenizer.flush() == ""


def test_an_unfinished_character_waits_for_its_rest_across_a_special_token(
    tokenizer: Tokenizer,
) -> None:
    detokenizer = Detokenizer(tokenizer)
    first, second = "é".encode()
    assert [detokenizer.feed(token) for token in (first, END, second)] == ["", "", "é"]


def test_an_unfinished_character_is_shown_as_broken_when_nothing_follows(
    tokenizer: Tokenizer,
) -> None:
    detokenizer = Detokenizer(tokenizer)
    assert detokenizer.feed(0xE2) == ""
    assert detokenizer.flush() == "\ufffd"
