"""What overlaps on a way adds up, and ends with the last of it."""

from __future__ import annotations

import pytest

from orchestrator.chaos.faults import Delay, Loss, Part
from orchestrator.live.chaos.disturbances import Disturbances

PAIR = ("a", "b")
BACK = ("b", "a")


class Paper:
    """Ways on which nothing goes."""

    def __init__(self) -> None:
        self.late_s: dict[frozenset[str], float] = {}
        self.lossy: dict[frozenset[str], float] = {}
        self.parted: set[frozenset[str]] = set()

    def delay(self, one: str, other: str, delay_s: float) -> None:
        self.late_s[frozenset((one, other))] = delay_s

    def lose(self, one: str, other: str, share: float) -> None:
        self.lossy[frozenset((one, other))] = share

    def part(self, one: str, other: str) -> None:
        self.parted.add(frozenset((one, other)))

    def join(self, one: str, other: str) -> None:
        self.parted.discard(frozenset((one, other)))


WAY = frozenset(PAIR)


def test_delays_add_up_whichever_end_is_named_first() -> None:
    ways = Paper()
    disturbances = Disturbances(ways)
    one, other = Delay("a", "b", 0.2, 9.0), Delay("b", "a", 0.3, 9.0)
    disturbances.begin(one, [PAIR])
    disturbances.begin(other, [BACK])
    assert ways.late_s == {WAY: pytest.approx(0.5)}
    disturbances.end(one, [PAIR])
    assert ways.late_s == {WAY: pytest.approx(0.3)}
    disturbances.end(other, [BACK])
    assert ways.late_s == {WAY: 0.0}


def test_losses_compound() -> None:
    ways = Paper()
    disturbances = Disturbances(ways)
    half, tenth = Loss("a", "b", 0.5, 9.0), Loss("a", "b", 0.1, 9.0)
    disturbances.begin(half, [PAIR])
    disturbances.begin(tenth, [PAIR])
    assert ways.lossy == {WAY: pytest.approx(0.55)}
    disturbances.end(half, [PAIR])
    assert ways.lossy == {WAY: pytest.approx(0.1)}
    disturbances.end(tenth, [PAIR])
    assert ways.lossy == {WAY: 0.0}


def test_two_that_are_parted_twice_are_joined_once() -> None:
    ways = Paper()
    disturbances = Disturbances(ways)
    part = Part("a", "b", 9.0)
    disturbances.begin(part, [PAIR, ("a", "c")])
    disturbances.begin(part, [PAIR])
    disturbances.end(part, [PAIR, ("a", "c")])
    assert ways.parted == {WAY}
    disturbances.end(part, [PAIR])
    assert ways.parted == set()


def test_one_kind_of_fault_leaves_the_others_as_they_are() -> None:
    ways = Paper()
    disturbances = Disturbances(ways)
    part, loss = Part("a", "b", 9.0), Loss("a", "b", 0.5, 9.0)
    disturbances.begin(Delay("a", "b", 0.2, 9.0), [PAIR])
    disturbances.begin(part, [PAIR])
    disturbances.begin(loss, [PAIR])
    disturbances.end(part, [PAIR])
    assert (ways.late_s, ways.lossy, ways.parted) == ({WAY: 0.2}, {WAY: 0.5}, set())
