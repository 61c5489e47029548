"""Streams against what they should be: each way of being wrong is told from the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.chaos.compare import Difference, difference, difference_of_part

LOST, DUPLICATED, ALTERED = Difference.LOST, Difference.DUPLICATED, Difference.ALTERED


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("abcdefgh", None),
        ("abcdefg", LOST),  # ended early
        ("", LOST),
        ("abfgh", LOST),  # a piece is missing
        ("bcdefgh", LOST),  # its beginning, too
        ("abcdefghgh", DUPLICATED),  # the end comes twice
        ("abcdcdefgh", DUPLICATED),
        ("abcdefghx", ALTERED),  # more, and not a copy
        ("abcxefgh", ALTERED),
        ("abcxfgh", ALTERED),
        ("abcdxcdefgh", ALTERED),
    ],
)
def test_a_whole_answer_that_differs_has_lost_repeated_or_altered(
    said: str, found: Difference | None
) -> None:
    assert difference(said, "abcdefgh") is found


@pytest.mark.parametrize(
    ("said", "found"),
    [("", None), ("abc", None), ("abcdefgh", None), ("abcx", ALTERED), ("abcbcd", ALTERED)],
)
def test_of_a_client_that_left_only_the_beginning_counts(
    said: str, found: Difference | None
) -> None:
    assert difference_of_part(said, "abcdefgh") is found


def test_a_client_that_left_with_more_than_all_heard_something_twice() -> None:
    assert difference_of_part("abcdefghgh", "abcdefgh") is DUPLICATED


@given(st.text("ab", min_size=1), st.data())
def test_any_piece_taken_out_is_lost_and_any_piece_repeated_is_a_duplicate(
    whole: str, data: st.DataObject
) -> None:
    """Over two letters, where pieces look alike."""
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, len(whole)))
    assert difference(whole[:start] + whole[stop:], whole) is LOST
    assert difference(whole[:stop] + whole[start:], whole) is DUPLICATED
