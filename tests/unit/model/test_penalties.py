"""Penalties against a reference written token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protos.messages import SamplingParams
from replicas.engine.plan import Sample
from replicas.model.penalties import leaves_scores_alone, penalise

VOCAB = 12
TOKENS = st.lists(st.integers(0, VOCAB - 1), max_size=20)
PARAMS = SamplingParams(tokens_max=8)


def reference(scores: Sequence[float], sample: Sample) -> list[float]:
    params = sample.params
    result = list(scores)
    for token in range(len(result)):
        if token in sample.prompt or token in sample.output:
            factor = params.repetition_penalty
            result[token] = result[token] / factor if result[token] > 0 else result[token] * factor
        count = list(sample.output).count(token)
        if count:
            result[token] -= params.presence_penalty + count * params.frequency_penalty
        if len(sample.output) < params.tokens_min and token in params.stop_token_ids:
            result[token] = float("-inf")
    return result


@given(
    TOKENS,
    TOKENS,
    st.sampled_from([0.5, 1.0, 1.3]),
    st.sampled_from([-0.5, 0.0, 0.7]),
    st.sampled_from([0.0, 0.2]),
    st.integers(0, 3),
)
def test_scores_change_as_the_reference_says(
    prompt: list[int],
    output: list[int],
    repetition: float,
    presence: float,
    frequency: float,
    tokens_min: int,
) -> None:
    params = replace(
        PARAMS,
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
        tokens_min=tokens_min,
        stop_token_ids=(3, 5),
    )
    sample = Sample(params, 0, prompt, output)
    scores = torch.randn(VOCAB, generator=torch.Generator().manual_seed(len(prompt)))
    expected = torch.tensor(reference(scores.tolist(), sample))
    penalised = scores.clone()
    penalise(penalised, sample)
    assert torch.allclose(penalised, expected)
    if leaves_scores_alone(sample):
        assert torch.equal(penalised, scores)


def test_stop_tokens_outside_the_vocabulary_are_no_error() -> None:
    params = replace(PARAMS, tokens_min=1, stop_token_ids=(-1, 3, VOCAB, 10**9))
    scores = torch.zeros(VOCAB)
    penalise(scores, Sample(params, 0, (1,), ()))
    assert torch.isinf(scores).nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize(
    ("changes", "output", "alone"),
    [
        ({}, (), True),
        ({"tokens_min": 1}, (), False),
        ({"tokens_min": 1}, (2,), True),
        ({"repetition_penalty": 1.1}, (), False),
        ({"presence_penalty": -0.1}, (), False),
        ({"frequency_penalty": 0.1}, (), False),
    ],
)
def test_the_quick_way_is_taken_only_without_effects(
    changes: dict[str, float], output: tuple[int, ...], alone: bool
) -> None:
    params = replace(PARAMS, **changes)  # type: ignore[arg-type]
    assert leaves_scores_alone(Sample(params, 0, (1,), output)) is alone
