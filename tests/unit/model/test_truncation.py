"""Top-k, top-p and min-p against a reference that sorts and sums one row in Python."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protos.messages import SamplingParams
from replicas.model.truncation import DEPTH, truncate

PARAMS = SamplingParams(tokens_max=1)


def reference(scores: list[float], params: SamplingParams) -> set[int]:
    """The tokens that stay; scores without ties."""
    order = sorted(range(len(scores)), key=lambda token: -scores[token])
    if params.top_k is not None:
        order = order[: params.top_k]
    total = sum(math.exp(scores[token]) for token in order)
    kept: list[int] = []
    mass = 0.0
    for token in order:
        if kept and mass >= params.top_p and params.top_p < 1.0:
            break
        kept.append(token)
        mass += math.exp(scores[token]) / total
    best = scores[order[0]]
    return {token for token in kept if math.exp(scores[token] - best) >= params.min_p}


def survivors(scores: torch.Tensor) -> list[set[int]]:
    return [set((row > -math.inf).nonzero().flatten().tolist()) for row in scores]


def random_scores(rows: int, vocab: int, seed: int, spread: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, vocab, generator=generator, dtype=torch.float64) * spread
    return scores - scores.amax(1, keepdim=True)


ANY_PARAMS = st.builds(
    lambda k, p, m: replace(PARAMS, top_k=k, top_p=p, min_p=m),
    st.none() | st.integers(1, 60),
    st.sampled_from([1e-9, 0.1, 0.5, 0.9, 0.999, 1.0]),
    st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)


@given(st.lists(ANY_PARAMS, min_size=1, max_size=5), st.integers(0, 99))
def test_the_tokens_that_stay_are_the_references(params: list[SamplingParams], seed: int) -> None:
    scores = random_scores(len(params), 50, seed, 2.0)
    expected = [reference(row.tolist(), each) for row, each in zip(scores, params, strict=True)]
    truncate(scores, params)
    assert survivors(scores) == expected


@pytest.mark.parametrize("spread", [0.01, 1.0, 3.0])
@pytest.mark.parametrize("top_k", [None, DEPTH - 1, DEPTH + 1, 3 * DEPTH, 10**9])
def test_a_nucleus_wider_than_the_first_look_is_found(spread: float, top_k: int | None) -> None:
    """Nearly flat scores: most of the vocabulary is in the nucleus."""
    params = [replace(PARAMS, top_p=p, top_k=top_k) for p in (0.3, 0.95, 1.0)]
    scores = random_scores(3, 4 * DEPTH, 1, spread)
    expected = [reference(row.tolist(), each) for row, each in zip(scores, params, strict=True)]
    truncate(scores, params)
    assert survivors(scores) == expected


def test_scores_that_stay_are_unchanged() -> None:
    scores = random_scores(1, 50, 4, 2.0)
    before = scores.clone()
    truncate(scores, [replace(PARAMS, top_k=7)])
    kept = scores > -math.inf
    assert kept.sum() == 7
    assert torch.equal(scores[kept], before[kept])


def test_tokens_of_equal_score_stay_together() -> None:
    scores = torch.tensor([[0.0, -1.0, -1.0, -2.0]], dtype=torch.float64)
    truncate(scores, [replace(PARAMS, top_k=2)])
    assert survivors(scores) == [{0, 1, 2}]


def test_banned_tokens_do_not_come_back() -> None:
    scores = torch.tensor([[0.0, -math.inf, -1.0]], dtype=torch.float64)
    truncate(scores, [replace(PARAMS, top_k=3, top_p=0.9999999)])
    assert survivors(scores) == [{0, 2}]


def test_a_row_does_not_depend_on_the_others() -> None:
    params = [replace(PARAMS, top_p=0.9), replace(PARAMS, top_k=2000, top_p=0.5), PARAMS]
    together = random_scores(3, 4 * DEPTH, 2, 1.0)
    alone = together[:1].clone()
    truncate(together, params)
    truncate(alone, params[:1])
    assert torch.equal(together[0], alone[0])
