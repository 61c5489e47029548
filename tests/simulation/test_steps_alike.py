"""A world that repeats plans is the world that does not, but for what it costs to simulate.

Steps begin and end at the same nanosecond, and every client gets the same tokens.
What differs is how fresh a replica's report is while nothing happens to it: it is as
old as the steps by one plan take together. Where two replicas are about as good, that
may turn a decision, so figures agree within what such decisions are worth, and no
closer; where there is one replica, to the last digit.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Answered
from orchestrator.sim.report import Report, report
from orchestrator.sim.world import History, WorldConfig, simulate
from orchestrator.workload.synthetic import synthesize
from orchestrator.workload.traffic import Traffic

BLOCK_SIZE = 128  # the larger, the longer nobody needs another block
# Of the larger, for figures that many requests make together.
TOLERANCE = 0.05


def beginning(workload: str, seed: int, requests: int) -> Traffic:
    traffic = synthesize(workload, seed)
    return replace(traffic, arrivals=traffic.arrivals[:requests])


def both(config: WorldConfig, traffic: Traffic) -> tuple[History, History]:
    """Without and with plans that are repeated."""
    checkers = Checkers(every_steps=200)
    single = simulate(replace(config, steps_max=1), traffic, checkers)
    return single, simulate(config, traffic, checkers)


def tokens(history: History) -> dict[int, tuple[int, ...]]:
    return {o.number: o.tokens for o in history.outcomes if isinstance(o, Answered)}


def figures(summary: Report) -> dict[str, float]:
    return {
        "hit": summary.hit_blocks_ratio,
        "ttft p50": summary.ttft_s["p50"],
        "ttft mean": summary.ttft_s["mean"],
        "tpot p50": summary.tpot_s["p50"],
    }


@pytest.mark.parametrize("block_size", [16, BLOCK_SIZE])
@pytest.mark.parametrize("seed", range(2))
def test_a_single_replica_has_the_same_history(seed: int, block_size: int) -> None:
    traffic = beginning("mix", seed, 60)
    blocks = 48_000 // block_size
    config = WorldConfig(replicas=1, blocks=blocks, block_size=block_size, seed=seed)
    single, repeated = both(config, traffic)
    assert single.outcomes == repeated.outcomes
    assert single.busy_ns == repeated.busy_ns
    counters = [history.snapshots[0].counters for history in (single, repeated)]
    assert counters[0] == counters[1], "steps included"
    share = 0.5 if block_size == BLOCK_SIZE else 1
    assert repeated.messages < single.messages * share, "hardly anything was repeated"


def test_a_cluster_says_the_same_and_is_as_fast() -> None:
    traffic = beginning("mix", 0, 150)
    config = WorldConfig(replicas=4, blocks=250, block_size=BLOCK_SIZE)
    single, repeated = both(config, traffic)
    assert tokens(single) == tokens(repeated)
    assert repeated.messages < single.messages / 2, "hardly anything was repeated"
    expected = figures(report(single, wall_s=1))
    assert figures(report(repeated, wall_s=1)) == pytest.approx(expected, rel=TOLERANCE)


def test_exact_worlds_and_clients_that_hear_each_token_take_single_steps() -> None:
    assert WorldConfig().steps_by_a_plan > 1
    assert WorldConfig(exact=True).steps_by_a_plan == 1
    assert WorldConfig(token_by_token=True).steps_by_a_plan == 1
