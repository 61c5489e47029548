"""Strikes that overlap hold a member together: what each did ends with the last of them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import cast

import pytest

from orchestrator.chaos.faults import Kill, Pause, Restart, Slow
from orchestrator.live.chaos.processes import Processes
from orchestrator.live.chaos.strikes import Strikes


class Member:
    """A process that is none."""

    def __init__(self) -> None:
        self.pid = 1
        self.is_alive = True
        self.is_stopped = False
        self.address = "somewhere"
        self.born_s = float("-inf")
        self.skew_s = 0.0

    def signal(self, number: signal.Signals) -> None:
        self.is_stopped = number is signal.SIGSTOP

    def kill(self) -> None:
        self.is_alive = self.is_stopped = False

    def ask_to_stop(self) -> None:
        """It takes its time."""

    def launch(self, *, skew_s: float = 0.0) -> None:
        assert not self.is_alive
        self.is_alive = True
        self.pid += 1
        self.skew_s = skew_s

    def ensure_launched(self, *, skew_s: float = 0.0) -> None:
        if not self.is_alive:
            self.launch(skew_s=skew_s)


class Cluster:
    """Of one member."""

    network = None

    def __init__(self) -> None:
        self.members = {"a": Member()}

    def is_serving(self) -> bool:
        return True


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def member(cluster: Cluster) -> Member:
    return cluster.members["a"]


@pytest.fixture
def strikes(cluster: Cluster) -> Strikes:
    return Strikes(cast(Processes, cluster))


def finish(steps: Iterator[float]) -> None:
    for _ in steps:
        pass


def test_who_is_slow_and_paused_is_not_woken_between(strikes: Strikes, member: Member) -> None:
    pause, slow = strikes.strike(Pause("a", 9.0)), strikes.strike(Slow("a", 4.0, 60.0))
    next(slow)
    next(pause)
    next(slow)  # its turn to run
    assert member.is_stopped
    finish(pause)
    assert not member.is_stopped
    next(slow)
    assert member.is_stopped


def test_a_pause_within_another_ends_with_it(strikes: Strikes, member: Member) -> None:
    long, short = strikes.strike(Pause("a", 9.0)), strikes.strike(Pause("a", 1.0))
    next(long)
    next(short)
    finish(short)
    assert member.is_stopped
    finish(long)
    assert not member.is_stopped


def test_the_end_of_a_pause_wakes_nobody_else(strikes: Strikes, member: Member) -> None:
    """Of a member that has died since, and whose next life another strike has paused."""
    old, new = strikes.strike(Pause("a", 9.0)), strikes.strike(Pause("a", 9.0))
    next(old)
    member.kill()
    member.launch()
    next(new)
    finish(old)
    assert member.is_stopped
    finish(new)
    assert not member.is_stopped


def test_who_is_killed_twice_stays_dead_for_the_longer(strikes: Strikes, member: Member) -> None:
    long, short = strikes.strike(Kill("a", 9.0)), strikes.strike(Kill("a", 1.0))
    next(long)
    next(short)
    finish(short)
    strikes.supervise()
    assert not member.is_alive
    finish(long)
    assert member.is_alive


def test_who_is_killed_while_it_stops_starts_when_both_are_over(
    strikes: Strikes, member: Member
) -> None:
    restart, kill = strikes.strike(Restart(("a",))), strikes.strike(Kill("a", 9.0))
    next(restart)
    assert member.is_alive
    next(kill)
    assert not member.is_alive, "it does not wait for the restart"
    finish(restart)
    strikes.supervise()
    assert not member.is_alive
    finish(kill)
    assert member.is_alive


def test_who_died_by_himself_is_started_again_after_a_strike(
    strikes: Strikes, member: Member
) -> None:
    finish(strikes.strike(Kill("a", 0.0)))
    member.kill()
    strikes.supervise()
    assert member.is_alive


def test_who_has_left_for_good_is_not_started(
    strikes: Strikes, cluster: Cluster, member: Member
) -> None:
    kill = strikes.strike(Kill("a", 9.0))
    next(kill)
    del cluster.members["a"]
    finish(kill)
    assert not member.is_alive
    assert strikes.failures == []
