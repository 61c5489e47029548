"""Encoding a prompt in pieces gives the tokens of the whole, or is not done."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from orchestrator.gateway.segments import SegmentedEncoder
from tests.unit.gateway.byte_model import SPECIAL, raw_tokenizer

# Merges reach across spaces, letters and the characters of special tokens, so
# that a cut at a wrong place changes the tokens.
MERGES = (("t", "h"), ("th", "e"), ("Ġ", "t"), ("Ġ", "Ġ"), ("|", ">"), ("<", "|"), ("Ċ", "Ċ"))

FRAGMENTS = st.sampled_from(
    (*SPECIAL, "<|im_start", "|>", "the", " the", "12", "  ", "\n\n", "é", "日本", "<|", "the\n")
)
TEXTS = st.lists(st.one_of(FRAGMENTS, st.text(max_size=6)), max_size=12).map("".join)


def whole(raw: Tokenizer, text: str) -> tuple[int, ...]:
    return tuple(raw.encode(text, add_special_tokens=False).ids)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_segments_concatenate_to_the_tokens_of_the_whole(text: str) -> None:
    raw = raw_tokenizer(MERGES)
    encoder = SegmentedEncoder(raw)
    assert encoder.encode(text) == whole(raw, text)
    assert encoder.encode(text) == whole(raw, text), "the second time comes from the table"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(("<a>", "<a>b", "a>b<", " ", "b", "<", "<w>", "x")), max_size=14))
def test_special_tokens_that_overlap_or_swallow_space_are_cut_right(parts: list[str]) -> None:
    raw = raw_tokenizer()
    raw.add_special_tokens(
        [
            AddedToken("<a>", normalized=False),
            AddedToken("<a>b", normalized=False, lstrip=True),
            AddedToken("<w>", normalized=False, rstrip=True),
        ]
    )
    raw.add_tokens([AddedToken("a>b<", normalized=False)])
    text = "".join(parts)
    assert SegmentedEncoder(raw).encode(text) == whole(raw, text)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(("<s>", "a", " ", "b")), max_size=10).map("".join))
def test_only_the_beginning_of_the_whole_text_is_marked_as_one(text: str) -> None:
    raw = Tokenizer(models.BPE({"\u2581": 0, "a": 1, "b": 2, "<s>": 3}, []))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    raw.add_special_tokens([AddedToken("<s>", normalized=False)])
    assert SegmentedEncoder(raw).encode(text) == whole(raw, text)


def test_a_step_that_is_not_known_sees_the_whole_text() -> None:
    raw = raw_tokenizer()
    raw.pre_tokenizer = pre_tokenizers.UnicodeScripts()
    encoder = SegmentedEncoder(raw)
    encoder.encode("a<|im_start|>b")
    assert encoder.fresh_characters("a<|im_start|>c") == len("a<|im_start|>c")


def test_a_shared_system_prompt_costs_nothing_the_second_time() -> None:
    encoder = SegmentedEncoder(raw_tokenizer())
    system = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    encoder.encode(system + "One?<|im_end|>")
    second = "<|im_start|>user\nTwo?"
    assert encoder.fresh_characters(system.removesuffix("<|im_start|>user\n") + second) == len(
        second
    )


def test_the_table_forgets_what_was_not_used_for_longest() -> None:
    encoder = SegmentedEncoder(raw_tokenizer(), characters_max=10)
    encoder.encode("aaaa")
    encoder.encode("bbbb")
    encoder.encode("aaaa")
    encoder.encode("cccc")
    assert encoder.fresh_characters("aaaa") == 0
    assert encoder.fresh_characters("bbbb") == 4
    encoder.encode("longer than the whole table")
    assert encoder.fresh_characters("aaaa") == 0
