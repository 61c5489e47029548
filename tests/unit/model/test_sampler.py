"""What is chosen: the right distribution, reproducibly, whoever shares the batch."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from protos.messages import SampledToken, SamplingParams
from replicas.engine.plan import Sample
from replicas.model.sampler import DRAW_ROWS, choose

RANDOM = SamplingParams(tokens_max=9, temperature=1.0)
GREEDY = SamplingParams(tokens_max=9, temperature=0.0)


def sample(params: SamplingParams, seed: int = 0, position: int = 5) -> Sample:
    return Sample(params, seed, range(position), ())


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def random_logits(rows: int, vocab: int = 400) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(8)) * 3


def frequencies(params: SamplingParams, logits: torch.Tensor, draws: int) -> list[float]:
    """Share of each token over many seeds."""
    rows = logits.expand(draws, -1).clone()
    chosen = choose(rows, [[sample(params, seed)] for seed in range(draws)])
    counts = Counter(tokens[0].token for tokens in chosen)
    return [counts[token] / draws for token in range(logits.shape[1])]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (RANDOM, [0.5, 0.3, 0.15, 0.05]),
        (replace(RANDOM, top_k=2), [0.625, 0.375, 0, 0]),
        (replace(RANDOM, top_p=0.9), [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        (replace(RANDOM, min_p=0.5), [0.625, 0.375, 0, 0]),
        (replace(RANDOM, temperature=0.5), [0.6849, 0.2466, 0.0616, 0.0068]),
        (replace(RANDOM, temperature=1e-300), [1, 0, 0, 0]),
        (replace(RANDOM, temperature=1e300), [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_tokens_come_as_often_as_their_probability(
    params: SamplingParams, expected: list[float]
) -> None:
    """Within four standard errors over 20,000 seeds, which are fixed."""
    draws = 20_000
    found = frequencies(params, logits_of(0.5, 0.3, 0.15, 0.05), draws)
    for share, probability in zip(found, expected, strict=True):
        error = math.sqrt(probability * (1 - probability) / draws)
        assert abs(share - probability) <= 4 * error + 1e-4


def test_positions_are_independent_draws() -> None:
    draws = 20_000
    rows = logits_of(0.7, 0.3).expand(draws, -1).clone()
    chosen = choose(rows, [[sample(RANDOM, 1, position)] for position in range(draws)])
    tokens = [each[0].token for each in chosen]
    pairs = Counter(pairwise(tokens))
    assert abs(pairs[0, 0] / draws - 0.49) < 0.02
    assert abs(pairs[1, 1] / draws - 0.09) < 0.01


def test_a_choice_does_not_depend_on_its_row_or_its_batch() -> None:
    """The same choices alone, together, in reverse, and beyond one group of draws."""
    params = [
        GREEDY,
        RANDOM,
        replace(RANDOM, top_p=0.8),
        replace(RANDOM, top_k=5, logprobs=3),
        replace(RANDOM, min_p=0.1, repetition_penalty=1.2),
    ]
    rows = DRAW_ROWS * 2 + 3
    logits = random_logits(rows)
    samples = [[sample(params[n % len(params)], seed=n, position=n)] for n in range(rows)]
    alone = [choose(logits[n : n + 1].clone(), samples[n : n + 1])[0] for n in range(rows)]
    assert choose(logits.clone(), samples) == alone
    assert choose(logits.flip(0), samples[::-1]) == alone[::-1]


@pytest.mark.parametrize("threads", [1, 2])
def test_nor_a_bit_of_its_log_probabilities(threads: int) -> None:
    """A large vocabulary, of which torch adds up the scores in an order of its own; many equal
    scores, of which another sample seeks more; and others who look deeper for their best."""
    torch.set_num_threads(threads)
    params = [
        replace(GREEDY, logprobs=2),
        replace(RANDOM, temperature=1.4, top_p=0.7, logprobs=20),
        replace(RANDOM, temperature=2.0, top_p=0.9, top_k=40, logprobs=5),
        replace(RANDOM, top_p=0.9, top_k=3000),
        replace(GREEDY, logprobs=5, repetition_penalty=1.2, frequency_penalty=0.1),
    ]
    logits = (random_logits(10, 50_001) * 4).round() / 4
    samples = [[sample(params[n % 5], seed=n, position=n)] for n in range(10)]
    alone = [choose(logits[n : n + 1].clone(), samples[n : n + 1])[0] for n in range(10)]
    assert choose(logits.clone(), samples) == alone
    assert choose(logits.flip(0), samples[::-1]) == alone[::-1]


def test_the_same_seed_and_position_give_the_same_token() -> None:
    logits = random_logits(1)
    once = choose(logits.clone(), [[sample(RANDOM, seed=3)]])
    assert choose(logits.clone(), [[sample(RANDOM, seed=3)]]) == once
    drawn = {choose(logits.clone(), [[sample(RANDOM, seed=s)]])[0][0].token for s in range(50)}
    assert len(drawn) > 5


def test_the_position_counts_prompt_and_output_together() -> None:
    """A sequence preempted and recomputed, or moved, draws what it would have drawn."""
    logits = random_logits(1)
    params = replace(RANDOM, temperature=2.0)
    split = Sample(params, 3, (1, 2, 3), (4, 5))
    assert choose(logits.clone(), [[split]]) == choose(logits.clone(), [[sample(params, 3)]])


def test_the_choices_of_a_row_are_penalised_apart() -> None:
    """One row of logits serves several samples; what one forbids itself the others may take."""
    logits = logits_of(0.6, 0.4)
    bans_best = replace(GREEDY, tokens_min=1, stop_token_ids=(0,))
    chosen = choose(logits, [[sample(GREEDY), sample(bans_best), sample(GREEDY)]])
    assert [token.token for token in chosen[0]] == [0, 1, 0]


def test_rows_keep_their_own_samples() -> None:
    logits = torch.eye(4)
    samples = [[sample(GREEDY)] * count for count in (2, 1, 3, 1)]
    chosen = choose(logits, samples)
    assert [[token.token for token in row] for row in chosen] == [[0, 0], [1], [2, 2, 2], [3]]


def test_a_stop_token_cannot_come_before_its_time() -> None:
    params = replace(RANDOM, tokens_min=2, stop_token_ids=(0,))
    assert frequencies(params, logits_of(0.9, 0.05, 0.05), 500)[0] == 0


def test_logprobs_are_of_the_penalised_distribution_before_temperature() -> None:
    logits = logits_of(0.5, 0.3, 0.2)
    params = replace(GREEDY, logprobs=2, tokens_min=1, stop_token_ids=(0,), temperature=0.1)
    [[token]] = choose(logits, [[sample(params)]])
    assert token.top[0][0] == 1
    assert token.top[0][1] == pytest.approx(math.log(0.6))
    assert token.top[1][1] == pytest.approx(math.log(0.4))
    assert token.logprob == pytest.approx(math.log(0.6 if token.token == 1 else 0.4))


def test_as_many_alternatives_as_asked_for() -> None:
    logits = random_logits(4, vocab=6)
    counts = (None, 0, 2, 99)
    samples = [[sample(replace(GREEDY, logprobs=count))] for count in counts]
    tokens = [row[0] for row in choose(logits, samples)]
    assert [len(token.top) for token in tokens] == [0, 0, 2, 6]
    assert [token.logprob is None for token in tokens] == [True, False, False, False]
    assert tokens[0] == SampledToken(tokens[0].token)
    assert tokens[2].top[0] == (tokens[2].token, tokens[2].logprob)


def test_global_randomness_is_neither_used_nor_disturbed() -> None:
    state = torch.random.get_rng_state()
    choose(random_logits(3), [[sample(RANDOM, n)] for n in range(3)])
    assert torch.equal(torch.random.get_rng_state(), state)
