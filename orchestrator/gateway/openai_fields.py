"""Which fields of OpenAI's bodies are read, ignored or refused, and how errors name them.

A field that is null is a field left out, as OpenAI's clients send it. A field
whose meaning is unknown is refused, so that a misspelt option does not pass
for a working one; so is a known field that would change the answer and that
this server does not have. Fields that change nothing here (bookkeeping, hints
to a cache) are accepted and ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.gateway.ask import invalid
from orchestrator.gateway.errors import InvalidRequest

# Accepted and ignored.
_HARMLESS = frozenset(
    (
        "metadata",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
    )
)

# Refused, unless the value says "no": field -> the values that change nothing.
_UNSUPPORTED: Mapping[str, tuple[object, ...]] = {
    "audio": (),
    "echo": (False,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "reasoning_effort": (),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "verbosity": (),
    "web_search_options": (),
}

# A null inside means something: it may be what a schema asks for.
_AS_SENT = frozenset(("response_format", "structured_outputs"))

Body = TypeVar("Body", bound=BaseModel)


def read_body(kind: type[Body], body: object) -> Body:
    """The body of one endpoint. Raises InvalidRequest for the first thing that is wrong."""
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object", code="invalid_json")
    fields = _without_nulls(body)
    for name, harmless in _UNSUPPORTED.items():
        if name in fields and fields[name] not in harmless:
            raise invalid(name, "is not supported here", code="unsupported_parameter")
    if fields.get("best_of") not in (None, fields.get("n", 1)):
        raise invalid("best_of", "is supported only when equal to n", code="unsupported_parameter")
    ignored = _HARMLESS | _UNSUPPORTED.keys() | {"best_of"}
    try:
        return kind.model_validate(
            {name: value for name, value in fields.items() if name not in ignored}
        )
    except ValidationError as error:
        raise _refusal(error) from error


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    """Null means left out, in the body, its messages and its nested objects."""
    return {
        name: value if name in _AS_SENT else _stripped(value)
        for name, value in fields.items()
        if value is not None
    }


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return _without_nulls(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_without_nulls(item) if isinstance(item, dict) else item for item in value]
    return value


def _refusal(error: ValidationError) -> InvalidRequest:
    """The first problem, in OpenAI's notation of fields."""
    first = error.errors(include_url=False, include_input=False)[0]
    param = ""
    for step in first["loc"]:
        param += f"[{step}]" if isinstance(step, int) else f".{step}" if param else step
    match first["type"]:
        case "missing":
            return invalid(param, "is required", code="missing_required_parameter")
        case "extra_forbidden":
            return invalid(param, "is unknown or not supported", code="unsupported_parameter")
        case _:
            return invalid(param, f"is invalid: {first['msg']}")
