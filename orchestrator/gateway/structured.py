"""Structured output: what a client asks for, as a grammar that replicas follow.

OpenAI's `response_format` (json_object, json_schema) and, in the words that
vLLM's users know, `structured_outputs` with one of json, regex, choice and
grammar (Lark). A grammar is checked here, by the library that replicas follow
it with, so that a mistake in it is its sender's error and never a replica's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llguidance import LLMatcher

from orchestrator.gateway.ask import invalid

# Compiling takes time that grows with it, on the gateway and on every replica.
GRAMMAR_CHARACTERS_MAX = 65_536
CHOICES_MAX = 1024
PROBLEM_CHARACTERS_MAX = 500
ANY_OBJECT = {"type": "object"}


def of_response_format(response_format: Mapping[str, Any]) -> str:
    """The grammar of OpenAI's field, empty for plain text. Raises InvalidRequest."""
    param = "response_format"
    match response_format.get("type"):
        case "text":
            return ""
        case "json_object":
            return _of_schema(ANY_OBJECT, param)
        case "json_schema":
            named = response_format.get("json_schema")
            if not isinstance(named, Mapping) or not isinstance(named.get("schema"), Mapping):
                raise invalid(f"{param}.json_schema", "must be an object with a schema")
            return _of_schema(named["schema"], f"{param}.json_schema.schema")
        case _:
            raise invalid(f"{param}.type", "must be text, json_object or json_schema")


def of_structured_outputs(structured: Mapping[str, Any]) -> str:
    """The grammar of the field with exactly one kind in it. Raises InvalidRequest."""
    param = "structured_outputs"
    if len(structured) != 1:
        raise invalid(param, "must have exactly one of json, regex, choice and grammar")
    ((kind, value),) = structured.items()
    param = f"{param}.{kind}"
    match kind, value:
        case "json", Mapping():
            return _of_schema(value, param)
        case "regex", str():
            return of_regex(value, param)
        case "choice", list() if all(isinstance(each, str) for each in value):
            return of_choice(value, param)
        case "grammar", str():
            return of_lark(value, param)
        case (("json" | "regex" | "choice" | "grammar"), _):
            raise invalid(param, f"must be {_SHAPES[kind]}")
        case _:
            raise invalid(param, "is unknown; json, regex, choice and grammar are")


def of_schema_text(text: str, param: str) -> str:
    """From a JSON schema as text. Raises InvalidRequest, naming `param`."""
    try:
        schema = json.loads(_short(text, param))
    except ValueError as error:
        raise invalid(param, f"is not JSON: {error}") from error
    except RecursionError as error:
        raise invalid(param, "is nested too deeply") from error
    if not isinstance(schema, Mapping):
        raise invalid(param, f"must be {_SHAPES['json']}")
    return _of_schema(schema, param)


def of_regex(pattern: str, param: str) -> str:
    """The whole text matches it. Raises InvalidRequest, naming `param`."""
    return _checked(LLMatcher.grammar_from_regex(_short(pattern, param)), param)


def of_choice(texts: Sequence[str], param: str) -> str:
    """The text is one of these. Raises InvalidRequest, naming `param`."""
    if not texts or not all(texts):
        raise invalid(param, f"must be {_SHAPES['choice']}")
    if len(texts) > CHOICES_MAX:
        raise invalid(param, f"has more than {CHOICES_MAX} texts")
    return of_regex("|".join(re.escape(text) for text in texts), param)


def of_lark(grammar: str, param: str) -> str:
    """A Lark grammar of its own. Raises InvalidRequest, naming `param`."""
    return _checked(LLMatcher.grammar_from_lark(_short(grammar, param)), param)


_SHAPES = {
    "json": "a JSON schema",
    "regex": "a string",
    "choice": "a list of texts that are not empty",
    "grammar": "a string",
}


def _of_schema(schema: Mapping[str, Any], param: str) -> str:
    # In the order in which it was sent: that is the order of an object's properties.
    try:
        text = _short(json.dumps(schema), param)
    except RecursionError as error:
        raise invalid(param, "is nested too deeply") from error
    return _checked(LLMatcher.grammar_from_json_schema(text), param)


def _short(text: str, param: str) -> str:
    if len(text) > GRAMMAR_CHARACTERS_MAX:
        raise invalid(param, f"is longer than {GRAMMAR_CHARACTERS_MAX} characters")
    return text


def _checked(grammar: str, param: str) -> str:
    is_error, messages = LLMatcher.validate_grammar_with_warnings(grammar)
    if is_error:
        problem = " ".join(messages[0].split())  # it may quote all of the grammar
        raise invalid(param, f"cannot be followed: {problem[:PROBLEM_CHARACTERS_MAX]}")
    return grammar
