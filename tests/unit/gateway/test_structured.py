"""Wishes for structured output become grammars, or errors that name the field."""

from __future__ import annotations

from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from orchestrator.gateway.errors import InvalidRequest
from orchestrator.gateway.structured import (
    CHOICES_MAX,
    GRAMMAR_CHARACTERS_MAX,
    of_response_format,
    of_schema_text,
    of_structured_outputs,
)


class OneByteEach:
    """A vocabulary of all bytes."""

    bos_token_id = None
    eos_token_id = 256
    is_tokenizer_wrapper = True
    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    special_token_ids = (256,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


TOKENIZER = LLTokenizer(OneByteEach())  # type: ignore[arg-type]


def matches(grammar: str, text: str) -> bool:
    matcher = LLMatcher(TOKENIZER, grammar, log_level=0)
    return matcher.consume_tokens(list(text.encode())) and matcher.is_accepting()


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("response_format", "good", "bad"),
    [
        ({"type": "json_object"}, '{"any": [1, true]}', "[1]"),
        (
            {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}},
            '{"name": "Ada", "age": 36}',
            '{"name": "Ada"}',
        ),
    ],
)
def test_a_response_format_becomes_a_grammar(
    response_format: dict[str, Any], good: str, bad: str
) -> None:
    grammar = of_response_format(response_format)
    assert matches(grammar, good)
    assert not matches(grammar, bad)


def test_plain_text_needs_no_grammar() -> None:
    assert of_response_format({"type": "text"}) == ""


@pytest.mark.parametrize(
    ("structured", "good", "bad"),
    [
        ({"json": PERSON}, '{"name": "Ada", "age": 36}', "{}"),
        ({"regex": r"[a-c]{3}\d"}, "abc1", "abc"),
        ({"choice": ["a.b", "x|y"]}, "x|y", "aXb"),
        ({"grammar": 'start: "yes" | "no"'}, "no", "maybe"),
    ],
)
def test_a_structured_output_becomes_a_grammar(
    structured: dict[str, Any], good: str, bad: str
) -> None:
    grammar = of_structured_outputs(structured)
    assert matches(grammar, good)
    assert not matches(grammar, bad)


@pytest.mark.parametrize(
    ("response_format", "param"),
    [
        ({}, "response_format.type"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"schema": 1}}, "response_format.json_schema"),
        (
            {"type": "json_schema", "json_schema": {"schema": {"type": "objec"}}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_a_bad_response_format_is_named(response_format: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        of_response_format(response_format)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("structured", "param"),
    [
        ({}, "structured_outputs"),
        ({"regex": "a", "json": PERSON}, "structured_outputs"),
        ({"regex": "a(b"}, "structured_outputs.regex"),
        ({"regex": 3}, "structured_outputs.regex"),
        ({"choice": []}, "structured_outputs.choice"),
        ({"choice": [""]}, "structured_outputs.choice"),
        ({"choice": ["a"] * (CHOICES_MAX + 1)}, "structured_outputs.choice"),
        ({"json": []}, "structured_outputs.json"),
        ({"grammar": "start: ("}, "structured_outputs.grammar"),
        ({"gbnf": "root ::= x"}, "structured_outputs.gbnf"),
        ({"regex": "a" * (GRAMMAR_CHARACTERS_MAX + 1)}, "structured_outputs.regex"),
    ],
)
def test_a_bad_structured_output_is_named(structured: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        of_structured_outputs(structured)
    assert refused.value.param == param


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "objec"}'])
def test_a_schema_as_text_is_checked_like_any(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        of_schema_text(text, "somewhere")
    assert refused.value.param == "somewhere"


def test_a_schema_as_text_becomes_a_grammar() -> None:
    assert matches(of_schema_text('{"enum": [1, 2]}', "somewhere"), "2")
