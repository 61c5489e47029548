"""What a stream says, held against what it says undisturbed.

A stream that ends early or misses a piece has lost something, one in which a
piece comes twice has a duplicate, and everything else that differs is altered.
"""

from __future__ import annotations

from enum import Enum


class Difference(Enum):
    """The ways in which a stream can be wrong; the value ends the sentence about it."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    ALTERED = "altered"


def difference(said: str, expected: str) -> Difference | None:
    """How the whole answer differs; None where it does not."""
    if said == expected:
        return None
    excess = len(said) - len(expected)
    before = common_prefix(said, expected)
    after = common_prefix(said[::-1], expected[::-1])
    shorter = min(len(said), len(expected))
    if excess == 0 or before + after < shorter:
        return Difference.ALTERED
    if excess < 0:
        return Difference.LOST
    # The piece that is too much can stand at any of these places; a copy is right behind itself.
    places = range(max(excess, len(expected) - after), before + 1)
    is_copy = any(said[at : at + excess] == said[at - excess : at] for at in places)
    return Difference.DUPLICATED if is_copy else Difference.ALTERED


def difference_of_part(said: str, expected: str) -> Difference | None:
    """The same for an answer of which its client heard the beginning only."""
    if expected.startswith(said):
        return None
    return difference(said, expected[: len(said)]) or Difference.DUPLICATED


def common_prefix(one: str, other: str) -> int:
    """How many characters they begin with together."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))
