"""The HTTP door under requests generated from its own document, which has to be true.

Schemathesis makes requests that follow /openapi.json and some that do not, and
holds every answer against the document: its status, its type, its shape. What
fields mean together no schema says, so that a request that follows the schema
may still be refused; of such ones only a few fields are kept, so that many get
past that, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from orchestrator.gateway.caller import Caller
from orchestrator.gateway.keyring import Entry, Keyring, Keys, key_digest
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.live.clock import OsClock
from tests.integration.gateway.conftest import Served
from tests.integration.security.background import WITHIN_S, in_background
from tests.waiting import wait_for

BODIES = ("POST /v1/chat/completions", "POST /v1/completions")
KEPT_MAX = 3
METHODS = ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS")  # nothing has them
# A schema cannot say all that makes a request acceptable.
MEANING = positive_data_acceptance
FUZZED = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,  # the same requests every time: what fails in CI fails here
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
KEY = "by-somebody"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with in_background(tmp_path_factory.mktemp("model")) as served:
        yield served


@pytest.fixture(scope="module")
def operations(served: Served) -> dict[str, Any]:
    """By method and path."""
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    listed: Any = schema.get_all_operations()
    found = [each.ok() for each in listed]
    return {operation.label: operation for operation in found}


def meant(body: dict[str, Any], kept: set[str]) -> dict[str, Any]:
    """With few of its fields, and with messages that a template knows."""
    left = {name: value for name, value in body.items() if name in kept}
    for message in left.get("messages", ()):
        message["role"] = "user" if message["role"] == "tool" else message["role"]
        message["content"] = message.get("content") or "Hi"
    return left


@pytest.mark.parametrize("label", BODIES)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_generated_body_breaks_anything(
    operations: dict[str, Any], label: str, mode: GenerationMode
) -> None:
    operation = operations[label]
    fields = operation.body[0].definition["schema"]["properties"]
    required = operation.body[0].definition["schema"]["required"]
    statuses: Counter[int] = Counter()

    @FUZZED
    @given(
        case=operation.as_strategy(generation_mode=mode),
        kept=st.sets(st.sampled_from(sorted(fields)), max_size=KEPT_MAX),
    )
    def is_answered_as_documented(case: Any, kept: set[str]) -> None:
        if mode is GenerationMode.POSITIVE:
            case.body = meant(case.body, {*required, *kept})
        answer = case.call()
        statuses[answer.status_code] += 1
        case.validate_response(answer, excluded_checks=[MEANING])

    is_answered_as_documented()
    assert mode is GenerationMode.NEGATIVE or statuses[200], "some get through to a replica"


def test_every_other_operation_answers_as_documented(operations: dict[str, Any]) -> None:
    for label, operation in operations.items():
        if label in BODIES:
            continue

        @settings(FUZZED, max_examples=20)
        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        def is_answered_as_documented(case: Any) -> None:
            case.validate_response(case.call(), excluded_checks=[MEANING])

        is_answered_as_documented()


def test_methods_that_a_path_has_not_are_refused(
    served: Served, operations: dict[str, Any]
) -> None:
    with httpx.Client(base_url=served.url) as client:
        for operation, method in product(operations.values(), METHODS):
            answer = client.request(method, operation.path.replace("{", "").replace("}", ""))
            assert answer.status_code == httpx.codes.METHOD_NOT_ALLOWED, (operation.path, method)
            assert answer.json()["error"]["code"] == "method_not_allowed"


def test_nothing_is_left_of_all_that(served: Served) -> None:
    def metrics_at_rest() -> str | None:
        text = httpx.get(f"{served.url}/metrics").text
        return text if "blockyard_requests_in_flight 0.0" in text else None

    metrics = wait_for(metrics_at_rest, within_s=WITHIN_S, what="nothing is in flight")
    failed = [line for line in metrics.splitlines() if 'outcome="failed"' in line]
    assert failed and all(line.endswith(" 0.0") for line in failed), failed


def test_with_keys_the_document_asks_for_one(tmp_path: Path) -> None:
    entry = Entry(key_digest(KEY), Caller("somebody", "acme"))
    keys = Keys(RateLimits(RateCounts(OsClock())), Keyring((entry,), metrics_are_open=True))
    with ExitStack() as stack:
        served = stack.enter_context(in_background(tmp_path, keys))
        client = stack.enter_context(httpx.Client(base_url=served.url))
        document = client.get("/openapi.json").json()
        assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                answer = client.request(method, path)
                if operation.get("security") == [{"key": []}]:
                    assert answer.status_code == httpx.codes.UNAUTHORIZED, path
                    assert {"401", "403"} <= set(operation["responses"])
                else:
                    assert answer.status_code == httpx.codes.OK, path


def test_every_operation_says_how_it_fails(operations: dict[str, Any]) -> None:
    for label, operation in operations.items():
        responses = operation.definition.raw["responses"]
        assert {"200", "400", "408", "431", "500", "503"} <= set(responses), label
        if label in BODIES:
            assert {"404", "413", "415", "422", "429", "502"} <= set(responses), label
            assert set(responses["200"]["content"]) == {"application/json", "text/event-stream"}
