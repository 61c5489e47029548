from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.gateway.ask import Options
from orchestrator.gateway.errors import InvalidRequest

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("max_tokens", [0, -1, 10**30]),
        ("min_tokens", [-1, 2**31]),
        ("temperature", [-0.1, 2.1, NAN, INFINITY, -INFINITY, 1e300]),
        ("top_k", [0, -1, 10**30]),
        ("top_p", [0, -0.5, 1.01, NAN]),
        ("min_p", [-0.1, 1.1, NAN]),
        ("seed", [2**63, -(2**63) - 1]),
        ("repetition_penalty", [0, -1, 10.5, NAN, INFINITY]),
        ("presence_penalty", [-2.1, 2.1, NAN]),
        ("frequency_penalty", [-2.1, 2.1, NAN]),
        ("logprobs", [-1, 21]),
        ("n", [0, -1, 17]),
        ("stop", [("",), ("x" * 257,), ("x",) * 17]),
        ("stop_token_ids", [(1,) * 65]),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(field: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InvalidRequest) as refused:
            replace(Options(), **{field: value}).check("sampling.")
        assert refused.value.param == f"sampling.{field}", value
        assert f"sampling.{field}" in refused.value.message


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(max_tokens=1, min_tokens=1, temperature=0, top_k=1, top_p=1, min_p=0, n=1),
        Options(temperature=2, top_p=1e-9, min_p=1, repetition_penalty=10, n=16, logprobs=20),
        Options(seed=-(2**63), presence_penalty=-2, frequency_penalty=2, logprobs=0),
        Options(seed=2**63 - 1, stop=("x" * 256,) * 16, stop_token_ids=(1,) * 64),
    ],
)
def test_the_ends_of_every_range_are_inside(options: Options) -> None:
    options.check()


def test_the_least_must_not_exceed_the_most() -> None:
    with pytest.raises(InvalidRequest, match="min_tokens must not exceed max_tokens"):
        Options(min_tokens=5, max_tokens=4).check()
