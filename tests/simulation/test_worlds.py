"""Worlds of one shape each: what they are built to show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Answered
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.report import report
from orchestrator.sim.world import WorldConfig, simulate
from orchestrator.workload.synthetic import synthesize
from orchestrator.workload.traffic import Arrival, Traffic
from tests.simulation.workloads import BLOCK_SIZE, run, small_traffic

SMALL = WorldConfig(replicas=1, blocks=64, block_size=BLOCK_SIZE)


def test_a_pool_too_small_preempts_and_everybody_finishes() -> None:
    history = run(replace(SMALL, blocks=28), small_traffic(1, seconds=0.2))
    summary = report(history, wall_s=1.0)
    assert summary.preemptions > 0
    assert summary.recomputed_tokens > 0
    assert summary.completed == 40


def test_a_request_that_no_replica_can_hold_is_refused_at_once() -> None:
    traffic = Traffic((Arrival(0, 0, input_tokens=600, output_tokens=5),), BLOCK_SIZE)
    (outcome,) = run(SMALL, traffic).outcomes
    assert not isinstance(outcome, Answered)
    assert outcome.code == "never_fits"
    assert outcome.ended_ns == outcome.arrival_ns


def test_the_first_token_of_a_lone_request_costs_two_hops_and_a_step() -> None:
    traffic = Traffic((Arrival(0, 0, input_tokens=1, output_tokens=1),), BLOCK_SIZE)
    (outcome,) = run(replace(SMALL, link_delay_s=0.001), traffic).outcomes
    assert isinstance(outcome, Answered)
    one_token_step_ns = SMALL.cost_model.step_ns + SMALL.cost_model.decode_sequence_ns + 40
    assert outcome.first_ns - outcome.arrival_ns == 2_000_000 + one_token_step_ns


def test_a_second_turn_finds_the_first() -> None:
    first = Arrival(0, 0, input_tokens=41, output_tokens=4, block_ids=tuple(range(10)))
    second = replace(first, number=1, arrival_ns=NS_PER_S)
    history = run(replace(SMALL, replicas=4), Traffic((first, second), BLOCK_SIZE))
    cold, warm = history.outcomes
    assert isinstance(cold, Answered)
    assert isinstance(warm, Answered)
    assert (cold.hit_tokens, warm.hit_tokens) == (0, 40)
    assert warm.replica_id == cold.replica_id


def test_under_the_ceiling_a_hit_is_found_on_every_replica() -> None:
    first = Arrival(0, 0, input_tokens=41, output_tokens=150, block_ids=tuple(range(10)))
    others = [replace(first, number=number, arrival_ns=NS_PER_S // 2) for number in range(1, 8)]
    config = replace(SMALL, replicas=4, blocks=400, policy="ceiling")
    history = run(config, Traffic((first, *others), BLOCK_SIZE))
    answers = [o for o in history.outcomes if isinstance(o, Answered)]
    assert sorted(a.hit_tokens for a in answers) == [0, *[40] * 7]
    assert len({a.replica_id for a in answers}) > 1


@pytest.mark.parametrize("gateways", [1, 2])
def test_a_spike_is_served_without_a_refusal(gateways: int) -> None:
    config = WorldConfig(replicas=4, gateways=gateways)
    surge = [a for a in synthesize("spike", 0).arrivals if 19 <= a.arrival_ns / NS_PER_S < 24]
    shortened = [replace(a, output_tokens=min(a.output_tokens, 60)) for a in surge]
    history = simulate(config, Traffic(tuple(shortened), 16), Checkers(every_steps=50))
    summary = report(history, wall_s=1.0)
    assert summary.refused == 0
    assert summary.completed == len(surge) > 400
    assert summary.hit_blocks_ratio > 0.5
