"""Many small worlds, each from its seed, with every checker at every step.

A seed that ever failed belongs into SEEDS_OF_OLD, and stays.
"""

from __future__ import annotations

import pytest

from orchestrator.sim.policies import POLICIES
from orchestrator.sim.report import trace_hash
from tests.simulation.workloads import run, small_config, small_traffic

SEEDS_OF_OLD: tuple[int, ...] = ()


@pytest.mark.parametrize("seed", [*SEEDS_OF_OLD, *range(50)])
def test_a_small_world_keeps_every_rule(seed: int) -> None:
    history = run(small_config(seed), small_traffic(seed))
    assert len(history.outcomes) == 40


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_serves_everything(policy: str) -> None:
    for seed in range(4):
        history = run(small_config(seed, policy=policy), small_traffic(seed))
        assert len(history.outcomes) == 40


def test_one_seed_makes_one_history() -> None:
    first, again = (run(small_config(3), small_traffic(3)) for _ in range(2))
    assert trace_hash(first) == trace_hash(again)
    assert trace_hash(run(small_config(3), small_traffic(4))) != trace_hash(first)
