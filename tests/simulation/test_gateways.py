"""Several gateways before the same replicas: what one has placed, the others count on.

The engines, the request path and the announcements are production code; the
network takes 0.2 ms each way.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random

import pytest

from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Answered
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.report import ttfts
from orchestrator.sim.world import History, WorldConfig, simulate
from orchestrator.workload.synthetic import poisson
from orchestrator.workload.traffic import Arrival, Traffic

BLOCK_SIZE = 16
PROMPT_TOKENS = 10_000  # half a second of prefill, in five chunks
MS = 1_000_000
GATEWAYS = 4
H100 = CostModel()
SLOW = CostModel(step_ns=1_000_000, prefill_token_ns=500_000, prefill_doubles_at=6_000)


def serve(
    *arrivals: Arrival, gateways: int, stale_s: float = 0.0, costs: CostModel = H100
) -> History:
    world = WorldConfig(
        replicas=4, gateways=gateways, blocks=8000, stale_s=stale_s, cost_model=costs
    )
    return simulate(world, Traffic(arrivals, BLOCK_SIZE), Checkers(every_steps=1000))


def same_prompts(count: int, *, apart_ms: float) -> list[Arrival]:
    """One cold prompt, asked for by many."""
    blocks = tuple(range(PROMPT_TOKENS // BLOCK_SIZE))
    return [
        Arrival(n, round((1000 + n * apart_ms) * MS), PROMPT_TOKENS, 20, blocks)
        for n in range(count)
    ]


def prompts_computed(history: History) -> float:
    tokens = sum(snapshot.counters.prefill_tokens for snapshot in history.snapshots)
    return tokens / PROMPT_TOKENS


def ttft_s_mean(history: History, numbers: Collection[int]) -> float:
    """Of these requests."""
    answered = [outcome for outcome in history.outcomes if isinstance(outcome, Answered)]
    assert len(answered) == len(history.outcomes)
    counted = [outcome for outcome in answered if outcome.number in numbers]
    return sum(ttfts(counted)) / len(counted)


@pytest.mark.parametrize("gateways", [1, GATEWAYS])
@pytest.mark.parametrize("apart_ms", [10, 100])
def test_a_cold_prompt_that_many_ask_for_is_computed_once(gateways: int, apart_ms: int) -> None:
    """The others come while the first is in the middle of its prefill, at any gateway.

    Power: with hits as the registry alone knows them it is computed four times
    or more; with one gateway's own placements alone, at GATEWAYS times.
    """
    history = serve(*same_prompts(4, apart_ms=apart_ms), gateways=gateways)
    assert len(history.outcomes) == 4
    assert prompts_computed(history) < 1.02


def test_of_one_instant_one_gateway_computes_a_cold_prompt_once() -> None:
    assert prompts_computed(serve(*same_prompts(8, apart_ms=0), gateways=1)) < 1.02


def test_of_one_instant_no_gateway_computes_a_cold_prompt_more_than_once() -> None:
    """None of them can know of the others yet."""
    history = serve(*same_prompts(8, apart_ms=0), gateways=GATEWAYS)
    assert prompts_computed(history) < GATEWAYS + 0.02


def test_a_replica_that_another_gateway_has_just_loaded_is_loaded_here_too() -> None:
    """Prompts that share nothing, 2 ms apart: each replica gets one.

    Power: without announcements two gateways choose the same replica.
    """
    arrivals = [Arrival(n, (1000 + 2 * n) * MS, PROMPT_TOKENS, 20) for n in range(4)]
    history = serve(*arrivals, gateways=GATEWAYS)
    tokens = [snapshot.counters.prefill_tokens for snapshot in history.snapshots]
    assert tokens == [PROMPT_TOKENS] * 4


def test_reports_that_are_ten_seconds_old_cost_little() -> None:
    """Four replicas at 70 %. By reckoning alone; gateways hear of each other's placements.

    Counted are the requests after the first 30 s: in 20 the gateways find out how late reports
    are, which nobody tells them. Power: with reports taken for new the mean is four times that.
    """
    random = Random(3)
    arrivals = [
        Arrival(n, arrival_ns, random.choice([100, 400, 1200]), 10)
        for n, arrival_ns in enumerate(poisson(random, start_s=0, seconds=80, rate=7))
    ]
    late = [arrival.number for arrival in arrivals if arrival.arrival_ns > 30_000 * MS]
    fresh, stale = (
        ttft_s_mean(serve(*arrivals, gateways=GATEWAYS, stale_s=stale_s, costs=SLOW), late)
        for stale_s in (0, 10)
    )
    assert stale < 1.15 * fresh, f"{stale:.3f} s, and {fresh:.3f} s where reports are new"
