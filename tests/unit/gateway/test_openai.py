from __future__ import annotations

from typing import Any

import pytest

from orchestrator.gateway.ask import Conversation, Text, Tokens
from orchestrator.gateway.errors import InvalidRequest
from orchestrator.gateway.openai import Call, chat_call, completion_call

USER = {"role": "user", "content": "Hi"}


def chat(**fields: Any) -> Call:
    return chat_call({"model": "m", "messages": [USER], **fields})


def complete(**fields: Any) -> Call:
    return completion_call({"model": "m", "prompt": "Hi", **fields})


def refused(body: object, *, chat: bool = True) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        (chat_call if chat else completion_call)(body)
    return caught.value


def test_a_chat_with_nothing_else_said_has_openais_defaults() -> None:
    call = chat()
    assert call.prompts == (Conversation((USER,)),)
    assert call.options.max_tokens is None
    assert (call.options.temperature, call.options.top_p, call.options.n) == (1.0, 1.0, 1)
    assert not call.stream and not call.include_usage
    assert complete().options.max_tokens == 16


def test_null_is_a_field_left_out() -> None:
    nulls = dict.fromkeys(
        ("temperature", "stop", "n", "stream", "tools", "logit_bias", "max_tokens", "seed", "user")
    )
    message = {**USER, "tool_calls": None, "function_call": None, "audio": None, "refusal": None}
    assert chat_call({"model": "m", "messages": [message], **nulls}) == chat()


def test_every_option_arrives() -> None:
    options = chat(
        max_completion_tokens=9,
        min_tokens=2,
        temperature=0,
        top_k=5,
        top_p=0.5,
        min_p=0.25,
        seed=-3,
        repetition_penalty=1.5,
        presence_penalty=-1,
        frequency_penalty=1,
        stop="x",
        stop_token_ids=[7],
        ignore_eos=True,
        logprobs=True,
        top_logprobs=4,
        n=3,
    ).options
    assert (options.max_tokens, options.min_tokens, options.temperature) == (9, 2, 0)
    assert (options.top_k, options.top_p, options.min_p, options.seed) == (5, 0.5, 0.25, -3)
    assert (options.repetition_penalty, options.presence_penalty) == (1.5, -1)
    assert (options.frequency_penalty, options.stop, options.stop_token_ids) == (1, ("x",), (7,))
    assert (options.ignore_eos, options.logprobs, options.n) == (True, 4, 3)


def test_content_may_come_in_text_parts_and_a_developer_speaks_as_the_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    call = chat(
        messages=[
            {"role": "developer", "content": parts},
            {"role": "assistant", "content": None, "annotations": []},
            {"role": "tool", "content": "4", "tool_call_id": "c", "name": "sum"},
        ]
    )
    assert call.prompts == (
        Conversation(
            (
                {"role": "system", "content": "a\nb"},
                {"role": "assistant", "content": ""},
                {"role": "tool", "content": "4", "name": "sum", "tool_call_id": "c"},
            )
        ),
    )


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", (Text("a"),)),
        (["a", "b"], (Text("a"), Text("b"))),
        ([1, 2], (Tokens((1, 2)),)),
        ([[1], [2, 3]], (Tokens((1,)), Tokens((2, 3)))),
        (["a", [1]], (Text("a"), Tokens((1,)))),
    ],
)
def test_a_prompt_has_four_forms(prompt: object, prompts: tuple[object, ...]) -> None:
    assert complete(prompt=prompt).prompts == prompts


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"a": "b"}, "store": False, "service_tier": "auto"},
        {"parallel_tool_calls": True, "prompt_cache_key": "k", "safety_identifier": "s"},
        {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}},
        {"logit_bias": {}, "modalities": ["text"], "functions": []},
        {"stream": True, "stream_options": {"include_usage": False, "include_obfuscation": True}},
    ],
)
def test_fields_that_change_nothing_are_accepted(fields: dict[str, Any]) -> None:
    assert chat(**fields).options == chat().options


def test_completions_accept_what_changes_nothing() -> None:
    assert complete(best_of=2, n=2, echo=False, suffix="").options.n == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("logit_bias", {"50256": -100}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("reasoning_effort", "low"),
        ("web_search_options", {}),
        ("temprature", 0.5),
        ("best_of", 3),
    ],
)
def test_fields_that_would_change_the_answer_are_refused_by_name(field: str, value: object) -> None:
    error = refused({"messages": [USER], field: value})
    assert (error.code, error.param) == ("unsupported_parameter", field)


@pytest.mark.parametrize(
    ("field", "value"), [("echo", True), ("suffix", "end"), ("best_of", 2), ("messages", [USER])]
)
def test_completions_refuse_what_they_do_not_have(field: str, value: object) -> None:
    error = refused({"prompt": "a", field: value}, chat=False)
    assert (error.code, error.param) == ("unsupported_parameter", field)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [USER, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{**USER, "tool_calls": [{}]}]}, "messages[0].tool_calls"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
        ),
        ({"model": 5}, "model"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 5.0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**40}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"n": 1.5}, "n"),
        ({"n": 17}, "n"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"stop": [""]}, "stop"),
        ({"stop_token_ids": ["a"]}, "stop_token_ids[0]"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"logprobs": 3}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"cache_salt": "x" * 257}, "cache_salt"),
    ],
)
def test_a_wrong_field_of_a_chat_is_named(fields: dict[str, Any], param: str) -> None:
    error = refused({"messages": [USER], **fields})
    assert error.param == param
    assert error.message.startswith(param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt[0]"),
        ({"prompt": [True]}, "prompt[0]"),
        ({"prompt": [[1], [1.5]]}, "prompt[1]"),
        ({"prompt": ["a"] * 65}, "prompt"),
        ({"prompt": ["a"] * 33, "n": 4}, "n"),
        ({"prompt": "a", "logprobs": True}, "logprobs"),
        ({"prompt": "a", "logprobs": 6}, "logprobs"),
    ],
)
def test_a_wrong_field_of_a_completion_is_named(fields: dict[str, Any], param: str) -> None:
    assert refused(fields, chat=False).param == param


@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    assert refused(body).code == "invalid_json"


def test_a_response_format_is_a_grammar_with_its_nulls() -> None:
    schema = {"type": "object", "properties": {"a": {"const": None}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    call = chat_call({"messages": [{"role": "user", "content": "hi"}], "response_format": wanted})
    assert '"const": null' in call.options.grammar


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"structured_outputs": {"regex": "a"}}, "structured_outputs"),
        ({"min_tokens": 2}, "min_tokens"),
        ({"ignore_eos": True}, "ignore_eos"),
    ],
)
def test_a_response_format_excludes_what_contradicts_it(
    more: dict[str, object], param: str
) -> None:
    body = {"prompt": "x", "response_format": {"type": "json_object"}, **more}
    with pytest.raises(InvalidRequest) as refused:
        completion_call(body)
    assert refused.value.param == param
