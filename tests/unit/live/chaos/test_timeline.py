"""Strikes take turns in the order of time, on a clock that stands still unless it is waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from orchestrator.chaos.faults import Break, Fault, Flush, Kill, TimedFault
from orchestrator.live.chaos import timeline


class Clock:
    """Goes on by what is slept."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock


def test_strikes_overlap_and_each_begins_and_ends_when_it_should(clock: Clock) -> None:
    done: list[tuple[str, float]] = []

    def strike(fault: Fault) -> Iterator[float]:
        name = type(fault).__name__
        done.append((f"{name} begins", round(clock(), 1)))
        if isinstance(fault, Kill):
            yield fault.seconds
            done.append((f"{name} heals", round(clock(), 1)))

    faults = [
        TimedFault(3.0, Flush()),
        TimedFault(1.0, Kill("replica-0", 4.0)),
        TimedFault(3.0, Break("a", "b")),
    ]
    looks: list[float] = []
    struck = timeline.play(
        faults,
        strike,
        clock,
        meanwhile=lambda: looks.append(clock()),
        until=lambda: clock() > 6.0,
        tell=lambda sentence: None,
    )
    assert done == [
        ("Kill begins", 1.0),
        ("Flush begins", 3.0),
        ("Break begins", 3.0),
        ("Kill heals", 5.0),
    ]
    assert [one.fault for one in struck] == [faults[0], faults[2], faults[1]]
    assert (struck[2].began_s, struck[2].ended_s) == pytest.approx((1.0, 5.0))
    assert clock() > 6.0, "it goes on until it is enough"
    pauses = [after - before for before, after in pairwise(looks)]
    assert max(pauses) <= 2 * timeline.LOOK_S


def test_a_strike_that_begins_late_says_so(clock: Clock) -> None:
    def strike(fault: Fault) -> Iterator[float]:
        if isinstance(fault, Kill):
            clock.sleep(2.0)  # nothing else happens meanwhile
        yield from ()

    faults = [TimedFault(1.0, Kill("redis", 0.0)), TimedFault(1.5, Flush())]
    _, flushed = timeline.play(
        faults,
        strike,
        clock,
        meanwhile=lambda: None,
        until=lambda: True,
        tell=lambda sentence: None,
    )
    assert flushed.began_s == pytest.approx(3.0)
