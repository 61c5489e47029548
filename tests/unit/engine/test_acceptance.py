"""A guess counts while what is chosen before it is what was guessed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protos.messages import SampledToken, SamplingParams
from replicas.engine.acceptance import Said, accepted, is_outcome, samples_along
from replicas.engine.plan import BlockId, Row, Sample

SAMPLE = Sample(SamplingParams(tokens_max=9), seed=3, prompt=(1, 2), output=[7])
ROW = Row((7, 4, 5, 6), 2, (BlockId(0),), (SAMPLE,), guesses=3)


def sampled(*tokens: int) -> tuple[SampledToken, ...]:
    return tuple(map(SampledToken, tokens))


@pytest.mark.parametrize(
    ("chosen", "counts"),
    [
        ((9, 5, 6, 8), 1),  # right by chance, behind one that was wrong
        ((4, 9, 6, 8), 2),
        ((4, 5, 9, 8), 3),
        ((4, 5, 6, 8), 4),
    ],
)
def test_what_is_chosen_counts_up_to_the_first_that_was_not_guessed(
    chosen: tuple[int, ...], counts: int
) -> None:
    assert accepted(ROW, sampled(*chosen)) == sampled(*chosen)[:counts]


def test_what_does_not_count_is_not_chosen() -> None:
    def choices() -> Iterator[SampledToken]:
        yield from sampled(4, 9)
        raise AssertionError("asked for a choice behind a wrong guess")

    assert accepted(ROW, choices()) == sampled(4, 9)


def test_each_choice_sees_the_guesses_before_it_as_said() -> None:
    along = [sample for (sample,) in samples_along(ROW)]
    assert [list(sample.output) for sample in along] == [[7], [7, 4], [7, 4, 5], [7, 4, 5, 6]]
    assert {(sample.params, sample.seed, sample.prompt) for sample in along} == {
        (SAMPLE.params, 3, (1, 2))
    }
    assert SAMPLE.output == [7]


def test_what_is_said_with_guesses_reads_like_a_list() -> None:
    said, alike = Said([7, 8], (4, 5)), [7, 8, 4, 5]
    assert list(said) == alike
    assert len(said) == 4
    assert [said[place] for place in range(-4, 4)] == [alike[place] for place in range(-4, 4)]
    assert list(said[1:3]) == alike[1:3]
    with pytest.raises(IndexError):
        said[4]


def test_without_guesses_all_samples_are_behind_the_last_token() -> None:
    row = Row((1, 2), 0, (BlockId(0),), (SAMPLE, SAMPLE))
    assert list(samples_along(row)) == [(SAMPLE, SAMPLE)]


@pytest.mark.parametrize(
    ("tokens", "can_be"),
    [
        ((), False),
        ((9,), True),
        ((4, 9), True),
        ((4, 5, 6, 8), True),
        ((5, 9), False),
        ((4, 5, 6, 8, 1), False),
    ],
)
def test_an_outcome_is_the_right_guesses_and_one_more(
    tokens: tuple[int, ...], can_be: bool
) -> None:
    assert is_outcome(ROW, sampled(*tokens), 1) == can_be
