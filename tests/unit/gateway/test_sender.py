"""Who says how urgent a request is, and whose it is."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.datastructures import Headers

from orchestrator.gateway.caller import ANYBODY
from orchestrator.gateway.errors import InvalidRequest
from orchestrator.gateway.openai import Call, completion_call
from orchestrator.gateway.sender import with_sender
from protos.messages import RequestClass

INTERACTIVE, AGENT, BATCH = RequestClass


def call(headers: dict[str, str], **fields: Any) -> Call:
    return with_sender(completion_call({"prompt": "Hi", **fields}), Headers(headers), ANYBODY)


@pytest.mark.parametrize(
    ("headers", "fields", "request_class"),
    [
        ({}, {}, INTERACTIVE),
        ({}, {"request_class": "batch"}, BATCH),
        ({"x-request-class": "agent"}, {}, AGENT),
        ({"x-request-class": "agent"}, {"request_class": "batch"}, BATCH),
        ({"x-request-class": "agent"}, {"request_class": None}, AGENT),
        ({"x-request-class": "nonsense"}, {"request_class": "interactive"}, INTERACTIVE),
    ],
)
def test_the_body_is_asked_for_the_class_before_the_header(
    headers: dict[str, str], fields: dict[str, Any], request_class: RequestClass
) -> None:
    assert call(headers, **fields).request_class is request_class


@pytest.mark.parametrize(
    ("headers", "fields", "tenant"),
    [
        ({}, {}, ""),
        ({}, {"user": "u"}, "u"),
        ({"x-tenant": "t"}, {"user": "u"}, "t"),
    ],
)
def test_the_header_is_asked_for_the_tenant_before_the_body(
    headers: dict[str, str], fields: dict[str, Any], tenant: str
) -> None:
    assert call(headers, **fields).tenant == tenant


@pytest.mark.parametrize(
    ("headers", "fields", "param"),
    [
        ({"x-request-class": "urgent"}, {}, "X-Request-Class"),
        ({}, {"request_class": "urgent"}, "request_class"),
        ({}, {"request_class": ""}, "request_class"),
    ],
)
def test_a_class_that_is_none_is_refused_with_those_there_are(
    headers: dict[str, str], fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        call(headers, **fields)
    assert (caught.value.code, caught.value.param) == ("unknown_class", param)
    assert "interactive, agent, batch" in caught.value.message


@pytest.mark.parametrize(
    ("headers", "fields", "param"),
    [
        ({"x-tenant": "t" * 129}, {}, "X-Tenant"),
        ({}, {"user": "u" * 129}, "user"),
        ({"x-tenant": "\x1b[2J"}, {}, "X-Tenant"),
        ({"x-tenant": "\x9b2J"}, {}, "X-Tenant"),
        ({}, {"user": "a\nb"}, "user"),
        ({}, {"user": 5}, "user"),
        ({}, {"request_class": 5}, "request_class"),
    ],
)
def test_names_have_a_bound_and_a_type_and_can_be_printed(
    headers: dict[str, str], fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        call(headers, **fields)
    assert caught.value.param == param
