"""What is guessed is what followed before; how much, what came true lately."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from replicas.engine.lookup import FIRST, LENGTHS, TOKEN_MAX, Lookup


def lookup(tokens: Sequence[int], trusted: int = 99) -> Lookup:
    """One that has seen these tokens, and whose guesses were all right."""
    subject = Lookup()
    subject.extend(tokens)
    subject.learn(guessed=trusted, accepted=trusted)
    return subject


@pytest.mark.parametrize(
    ("tokens", "guesses"),
    [
        ((1, 2, 3, 4, 5, 1, 2, 3), (4, 5, 1, 2)),
        ((1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3), (5, 1, 2, 3)),  # of two alike the latest
        ((9, 1, 2, 3, 4, 7, 1, 2, 3, 5, 9, 1, 2, 3), (4, 7, 1, 2)),  # the longer before the latest
        ((1, 2, 1, 2), ()),  # two are no sign
        ((1, 2, 3, 4), ()),
        ((1, 2, 3), ()),
        ((), ()),
        ((6, 7, 8, 6, 7, 8), (6, 7, 8, 6)),  # in circles
        ((5, 5, 5, 5), (5, 5, 5, 5)),
        ((TOKEN_MAX, 0xD800, 0, 1, TOKEN_MAX, 0xD800, 0), (1, TOKEN_MAX, 0xD800, 0)),
    ],
)
def test_what_followed_before_is_guessed(tokens: tuple[int, ...], guesses: tuple[int, ...]) -> None:
    assert lookup(tokens).guesses(4) == guesses
    assert lookup(tokens).guesses(2) == guesses[:2]


def plainly(tokens: list[int], count: int) -> list[int]:
    """The same by comparing lists."""
    for length in reversed(LENGTHS):
        for first in reversed(range(len(tokens) - length)):
            if tokens[first : first + length] == tokens[-length:]:
                said = list(tokens)
                for _ in range(count):
                    said.append(said[first + length + len(said) - len(tokens)])
                return said[len(tokens) :]
    return []


def test_it_finds_what_comparing_every_place_finds() -> None:
    rng = random.Random(3)
    found = 0
    for _ in range(500):
        tokens = [rng.randrange(4) for _ in range(rng.randint(1, 60))]
        subject = Lookup()
        for first in range(0, len(tokens), 7):
            assert subject.length == first
            subject.extend(tokens[first : first + 7])
        subject.learn(guessed=9, accepted=9)
        assert list(subject.guesses(9)) == plainly(tokens, 9)
        found += bool(subject.guesses(9))
    assert 100 < found < 500


def trusted(*verdicts: tuple[int, int]) -> int:
    """How many it guesses after so many guesses, of which so many were right, and so on."""
    subject = Lookup()
    subject.extend([5] * 9)
    for guessed, accepted in verdicts:
        subject.learn(guessed, accepted)
    return len(subject.guesses(99))


def test_it_guesses_as_much_as_came_true_lately() -> None:
    assert trusted() == FIRST == 4
    assert trusted((4, 4)) == 8
    assert trusted((4, 4), (8, 8)) == 16
    assert trusted((4, 4), (8, 7)) == 7
    assert trusted((4, 4), (8, 1)) == 4
    assert trusted((4, 0), (2, 0)) == 1
    assert trusted((4, 0), (2, 0), (1, 0)) == 1, "or it would never learn that all has changed"
    assert trusted((4, 0), (2, 0), (1, 1)) == 2
    assert trusted((4, 4), (1, 1)) == 8, "there was only room for one: that says nothing of eight"
