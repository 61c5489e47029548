from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.gateway.rate_window import MINUTE_S, Window

UNUSED = Window(0, 0.0, 0, 0.0)


def window(previous: int, current: int, *, left_s: float) -> Window:
    """In a fixed minute of which so many seconds are left."""
    return Window(previous, left_s if previous else 0.0, current, left_s + MINUTE_S)


def test_a_new_window_has_all_of_its_limit() -> None:
    assert UNUSED.remaining(10) == 10
    assert UNUSED.wait_s(10, 10) == 0
    assert UNUSED.reset_s() == 0


def test_what_the_minute_before_used_slides_out_of_the_last_sixty_seconds() -> None:
    half = window(100, 10, left_s=30)
    assert half.used() == 60
    assert half.used(in_s=15) == 35
    assert half.used(in_s=30) == 10
    assert half.used(in_s=60) == 5, "a minute later half of what is used now still counts"
    assert half.used(in_s=90) == 0


def test_more_used_than_the_limit_leaves_nothing() -> None:
    assert window(0, 25, left_s=30).remaining(10) == 0


@pytest.mark.parametrize(
    ("seen", "amount", "wait_s"),
    [
        (window(0, 9, left_s=30), 1, 0),
        (window(0, 10, left_s=30), 1, 31),  # 10 * (90 - t) / 60 < 10
        (window(10, 5, left_s=36), 1, 7),  # 10 * (36 - t) / 60 + 5 < 10
        (window(0, 10, left_s=30), 10, 85),  # 10 * (90 - t) / 60 < 1
    ],
)
def test_the_wait_is_until_so_much_has_slid_out(seen: Window, amount: int, wait_s: int) -> None:
    assert seen.wait_s(amount, 10) == wait_s


@settings(deadline=None)
@given(
    previous=st.integers(0, 1000),
    current=st.integers(0, 1000),
    left_s=st.floats(0.001, MINUTE_S),
    limit=st.integers(1, 500),
    data=st.data(),
)
def test_after_the_wait_there_is_room_and_shortly_before_there_was_none(
    previous: int, current: int, left_s: float, limit: int, data: st.DataObject
) -> None:
    seen = window(previous, current, left_s=left_s)
    amount = data.draw(st.integers(1, limit))
    wait_s = seen.wait_s(amount, limit)
    assert 0 <= wait_s <= 2 * MINUTE_S
    assert seen.used(in_s=wait_s) <= limit - amount
    if wait_s > 2:  # rounded up to a second
        assert seen.used(in_s=wait_s - 2) > limit - amount


def test_what_was_just_used_is_seen_at_once() -> None:
    assert UNUSED.plus(3).remaining(10) == 7
    assert window(0, 4, left_s=30).plus(3).remaining(10) == 3
