"""Skewed load, with and without rebalancing, from the same seed.

Every long agent begins on one replica, whose blocks are soon all used: who
asks there waits, and the agents preempt one another. With rebalancing they
move to where there is room, while they go on decoding.
"""

from __future__ import annotations

from functools import cache

from orchestrator.sim.report import Report, report
from orchestrator.sim.world import History
from tests.simulation.skew import run


@cache
def history(*, rebalance: bool) -> History:
    return run(0, rebalance=rebalance)


@cache
def figures(*, rebalance: bool) -> Report:
    return report(history(rebalance=rebalance), wall_s=1.0)


def test_those_who_watch_wait_far_less_when_agents_move_away() -> None:
    off, on = (figures(rebalance=choice).ttft_s_by_tag["chat"]["p99"] for choice in (False, True))
    assert on * 3 <= off, f"p99 TTFT of chats: {off:.3f} s without, {on:.3f} s with rebalancing"


def test_moves_take_the_place_of_preemptions() -> None:
    assert history(rebalance=False).moves == 0
    assert figures(rebalance=False).preemptions > 10
    assert history(rebalance=True).moves > 10
    assert figures(rebalance=True).preemptions <= 1


def test_every_answer_is_whole_either_way() -> None:
    for rebalance in (False, True):
        summary = figures(rebalance=rebalance)
        assert summary.completed == summary.requests
