"""From one replica to more than forty and back, as Serve asks the policy; no stream is cut."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from orchestrator.gateway.dispatch import DispatchConfig
from orchestrator.policy.admit import AdmitConfig
from orchestrator.policy.rebalance_config import RebalanceConfig
from orchestrator.policy.scale import ScaleConfig, ScaleReason
from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Answered
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.scaling import Scaling
from orchestrator.sim.world import SHELL, WorldConfig, simulate
from orchestrator.workload.traffic import Arrival, Traffic

REPLICAS_MAX = 64
PREFIX_IDS = tuple(range(1, 9))  # eight blocks that every prompt begins with
SPIKE_S = (10.0, 70.0)
END_S = 170.0
CALM_S = 8.0
CONFIG = WorldConfig(
    replicas=1,
    blocks=80,
    control_planes=1,
    rebalancing=RebalanceConfig(tokens_left_min=8),
    cost_model=CostModel(step_ns=200_000_000),  # slow, and so soon simulated
    shell=replace(SHELL, warm_ms=2_000, report_interval_ms=2_000),
    dispatch=DispatchConfig(
        admit=AdmitConfig(objectives_ns={}, queue_max=10_000), queue_ns_max=3600 * NS_PER_S
    ),
)


def spike(seed: int) -> Traffic:
    """A request every other second, but for a spike of 27 every second; each takes ten seconds."""
    random = Random(seed)
    arrivals: list[Arrival] = []
    at_s = 0.0
    while at_s < END_S:
        arrivals.append(
            Arrival(
                number=len(arrivals),
                arrival_ns=int(at_s * NS_PER_S),
                input_tokens=16 * len(PREFIX_IDS) + random.randint(16, 64),
                output_tokens=50,
                block_ids=PREFIX_IDS,
            )
        )
        at_s += random.expovariate(27.0 if SPIKE_S[0] < at_s < SPIKE_S[1] else 0.5)
    return Traffic(tuple(arrivals), 16)


def test_forty_replicas_come_and_go_with_a_spike_and_no_stream_is_cut() -> None:
    traffic = spike(seed=1)
    scaling = Scaling(
        ScaleConfig(1, REPLICAS_MAX, quiet_ns=int(CALM_S * NS_PER_S)), start_s=3.0, seconds=END_S
    )
    history = simulate(CONFIG, traffic, Checkers(every_steps=2000), faults=scaling)
    answered = [outcome for outcome in history.outcomes if isinstance(outcome, Answered)]
    assert len(answered) == len(traffic.arrivals), "all of it, and the checkers saw every token"
    counts = [change.count for change in scaling.changes]
    print([(f"{change.at_s:.0f} s", change.count) for change in scaling.changes])
    assert max(counts) >= 40
    grown = counts[: counts.index(max(counts)) + 1]
    assert grown == sorted(grown), "it never hesitates while more is wanted"
    assert counts[-1] == 1
    assert {change.reason for change in scaling.changes[len(grown) :]} == {ScaleReason.CALM}
    assert history.moves > 0, "who leaves gives what it runs away"
    late = [a for a in answered if a.arrival_ns > (SPIKE_S[0] + 40) * NS_PER_S]
    hits = sum(a.hit_tokens >= 16 * len(PREFIX_IDS) for a in late) / len(late)
    assert hits > 0.95, "new replicas have what prompts begin with"
