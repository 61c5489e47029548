"""Which of the incident's symptoms a run shows, each judged by a rule stated beforehand.

The symptoms are looked for in the second model, the incident's own stack; the
cure is looked for in the fourth. A rule reads figures only. A symptom that does
not appear is reported as absent, with the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.sim.incident.figures import ModelFigures, PhaseFigures
from orchestrator.sim.incident.workload import AGENT

# The rules' numbers: sharply, mildly, about a quarter, and the project's aim.
TTFT_SHARP = 3.0  # times as long during the spike
TPOT_MILD = 1.5  # times at most
FREE_QUARTER = (0.15, 0.40)  # of memory, in the median failure of an agent
SPLIT_SHARE = 0.5  # of these failures, in more than which enough was free, in pieces
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
    name = "TTFT rises sharply while TPOT degrades mildly"
    if not answered(pinned):
        return Finding(name, False, NOBODY)
    ttft, tpot = rise(pinned, ttft_p50), rise(pinned, tpot_p50)
    return Finding(
        name=name,
        appears=ttft >= TTFT_SHARP and tpot <= TPOT_MILD,
        evidence=f"TTFT p50 {change(pinned, ttft_p50)}; TPOT p50 {change(pinned, tpot_p50)}",
    )


def free_but_out_of_memory(pinned: ModelFigures) -> Finding:
    """Symptom 2: agents fail for want of one piece, with about a quarter of memory free.

    Most of them must have asked for less than was free. Else memory was short, not in pieces.
    """
    name = "agents fail to allocate with about 25 % of memory free, more than they ask"
    agents = [failure for failure in pinned.failures if failure.kind == AGENT]
    if not agents:
        return Finding(name, False, "no agent failed")
    free = pinned.free_share_at_agent_failures
    split = sum(failure.enough_was_free for failure in agents)
    return Finding(
        name=name,
        appears=FREE_QUARTER[0] <= free["p50"] <= FREE_QUARTER[1]
        and split > SPLIT_SHARE * len(agents),
        evidence=f"{pinned.spike.agent_failures} of {pinned.spike.agents} agents of the spike"
        f" failed; free at a failure: median {free['p50']:.0%}, from {free['p0']:.0%} to"
        f" {free['p100']:.0%} (on average over the spike {pinned.spike.free:.0%});"
        f" {split} of {len(agents)} agents that failed asked for less than was free",
    )


def trade(bare: ModelFigures, pinned: ModelFigures) -> Finding:
    """Symptom 3: without reuse TTFT is worse and failures are rarer."""
    name = "without reuse TTFT is worse and failures are rarer"
    if not (answered(bare) and answered(pinned)):
        return Finding(name, False, NOBODY)
    on, off = ttft_p50(pinned.spike), ttft_p50(bare.spike)
    failed = pinned.spike.agent_failure_ratio, bare.spike.agent_failure_ratio
    return Finding(
        name=name,
        appears=off > on and failed[1] < failed[0],
        evidence=f"reuse on: TTFT p50 {seconds(on)}, {failed[0]:.0%} of agents fail;"
        f" off: {seconds(off)}, {failed[1]:.0%}",
    )


def cure(pinned: ModelFigures, shared: ModelFigures) -> Finding:
    """Paged and shared: no failure, no sharp rise of TTFT, which is shorter by the aim's factor.

    TPOT is no symptom, and is told: who is not turned away streams beside the others.
    """
    name = "paged with sharing shows none of the three"
    if not (answered(pinned) and answered(shared)):
        return Finding(name, False, NOBODY)
    shorter = ttft_p50(pinned.spike) / ttft_p50(shared.spike)
    return Finding(
        name=name,
        appears=not shared.failures
        and shorter >= CURE_TTFT
        and rise(shared, ttft_p50) < TTFT_SHARP,
        evidence=f"{len(shared.failures)} failures, {shared.preemptions} preemptions; TTFT p50"
        f" {change(shared, ttft_p50)}, in the spike {shorter:.1f} times below"
        f" {pinned.model}; TPOT p50 {change(shared, tpot_p50)}",
    )


NOBODY = "nobody was answered before or during the spike"


def answered(model: ModelFigures) -> bool:
    """Whether there is anything to compare."""
    return bool(model.before.ttft_s and model.spike.ttft_s)


def ttft_p50(phase: PhaseFigures) -> float:
    return phase.ttft_s["p50"]


def tpot_p50(phase: PhaseFigures) -> float:
    return phase.tpot_s["p50"]


def rise(model: ModelFigures, of: Callable[[PhaseFigures], float]) -> float:
    """How many times as long during the spike as before."""
    return of(model.spike) / of(model.before)


def change(model: ModelFigures, of: Callable[[PhaseFigures], float]) -> str:
    """The same in words."""
    before, spike = of(model.before), of(model.spike)
    return f"{seconds(before)} to {seconds(spike)} ({rise(model, of):.2f} times)"


def seconds(value: float) -> str:
    """A time for a reader."""
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
