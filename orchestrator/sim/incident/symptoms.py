"""Which of the incident's symptoms a run shows, each judged by a rule stated beforehand.

The symptoms are looked for in the second model, the incident's own stack; the
cure is looked for in the fourth. A rule reads figures only. A symptom that does
not appear is reported as absent, with the same figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.sim.incident.figures import ModelFigures

# The rules' numbers: sharply, mildly, about a quarter, and the project's aim.
TTFT_SHARP = 3.0  # times as long during the spike
TPOT_MILD = 1.5  # times at most
FREE_QUARTER = (0.15, 0.40)  # of memory, in the median failure of an agent
CURE_TTFT = 5.0  # times shorter


@dataclass(frozen=True, slots=True)
class Finding:
    """One question to a run, and its answer."""

    name: str
    appears: bool
    evidence: str


def findings(figures: Mapping[str, ModelFigures]) -> tuple[Finding, ...]:
    """Symptoms 1 to 3 of the incident, and their cure."""
    bare, pinned = figures["contiguous"], figures["contiguous+prefix"]
    return (
        slow_start(pinned),
        free_but_out_of_memory(pinned),
        trade(bare, pinned),
        cure(pinned, figures["paged+sharing"]),
    )


def slow_start(pinned: ModelFigures) -> Finding:
    """Symptom 1: TTFT rises sharply, TPOT mildly."""
    ttft = pinned.before.ttft_s["p50"], pinned.spike.ttft_s["p50"]
    tpot = pinned.before.tpot_s["p50"], pinned.spike.tpot_s["p50"]
    return Finding(
        name="TTFT rises sharply while TPOT degrades mildly",
        appears=ttft[1] >= TTFT_SHARP * ttft[0] and tpot[1] <= TPOT_MILD * tpot[0],
        evidence=f"TTFT p50 {ttft[0]:.3f} to {ttft[1]:.3f} s ({ttft[1] / ttft[0]:.1f} times),"
        f" TPOT p50 {1000 * tpot[0]:.1f} to {1000 * tpot[1]:.1f} ms"
        f" ({tpot[1] / tpot[0]:.2f} times)",
    )


def free_but_out_of_memory(pinned: ModelFigures) -> Finding:
    """Symptom 2: agents fail although about a quarter of memory is free."""
    name = "agents fail to allocate with about 25 % of memory free"
    free = pinned.free_share_at_agent_failures
    if not free:
        return Finding(name, False, "no agent failed")
    split = sum(failure.enough_was_free for failure in pinned.failures)
    return Finding(
        name=name,
        appears=FREE_QUARTER[0] <= free["p50"] <= FREE_QUARTER[1],
        evidence=f"{pinned.spike.agent_failures} of {pinned.spike.agents} agents of the spike"
        f" failed; free at a failure: median {free['p50']:.0%}, from {free['p0']:.0%} to"
        f" {free['p100']:.0%}; in {split} of {len(pinned.failures)} failures more was free than"
        " was asked, in no one piece",
    )


def trade(bare: ModelFigures, pinned: ModelFigures) -> Finding:
    """Symptom 3: without reuse TTFT is worse and failures are rarer."""
    ttft = pinned.spike.ttft_s["p50"], bare.spike.ttft_s["p50"]
    failed = pinned.spike.agent_failure_ratio, bare.spike.agent_failure_ratio
    return Finding(
        name="without reuse TTFT is worse and failures are rarer",
        appears=ttft[1] > ttft[0] and failed[1] < failed[0],
        evidence=f"reuse on: TTFT p50 {ttft[0]:.3f} s, {failed[0]:.0%} of agents fail;"
        f" off: {ttft[1]:.3f} s, {failed[1]:.0%}",
    )


def cure(pinned: ModelFigures, shared: ModelFigures) -> Finding:
    """Paged and shared: no failure, TTFT shorter by the aim's factor, TPOT no worse than mild."""
    ttft = pinned.spike.ttft_s["p50"], shared.spike.ttft_s["p50"]
    tpot = shared.before.tpot_s["p50"], shared.spike.tpot_s["p50"]
    return Finding(
        name="paged with sharing shows none of the three",
        appears=not shared.failures
        and ttft[0] >= CURE_TTFT * ttft[1]
        and ttft[1] < TTFT_SHARP * shared.before.ttft_s["p50"],
        evidence=f"{len(shared.failures)} failures; TTFT p50 in the spike {ttft[1]:.3f} s,"
        f" {ttft[0] / ttft[1]:.1f} times below contiguous+prefix; TPOT p50"
        f" {1000 * tpot[0]:.1f} to {1000 * tpot[1]:.1f} ms; {shared.preemptions} preemptions",
    )
