"""What a replay amounts to: the figures of each phase, and of each failure.

A request belongs to the phase in which it arrived. A failed request has no
TTFT and is never hidden in one: failures stand beside the latencies, and count
against goodput.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orchestrator.sim.incident.contiguous_engine import Failure
from orchestrator.sim.incident.memory import MemoryState
from orchestrator.sim.incident.replay import Answer, Look, Replay
from orchestrator.sim.incident.workload import AGENT, CHAT, Load, request_id_of
from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.quantiles import Figures, percentile
from orchestrator.workload.traffic import Arrival


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a request must meet to count as goodput."""

    ttft_s: float = 1.0
    tpot_s: float = 0.030

    def met_by(self, answer: Answer) -> bool:
        """Whether it met both."""
        return answer.ttft_s <= self.ttft_s and answer.tpot_s <= self.tpot_s


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the workload, by arrival."""

    name: str
    start_s: float
    stop_s: float

    def has(self, at_ns: int) -> bool:
        """Whether the moment is in it."""
        return self.start_s * NS_PER_S <= at_ns < self.stop_s * NS_PER_S

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.stop_s - self.start_s


def phases(load: Load) -> tuple[Phase, Phase, Phase, Phase]:
    """All the time in which requests arrive; memory fills during the first."""
    warm_s = load.steady_s / 3
    return (
        Phase("warm-up", 0, warm_s),
        Phase("before", warm_s, load.steady_s),
        Phase("spike", load.steady_s, load.spike_end_s),
        Phase("after", load.spike_end_s, load.end_s),
    )


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """One model in one phase."""

    requests: int
    admitted: int  # they ran to their end: a run once begun is never taken back
    agents: int
    agent_failures: int
    chat_failures: int
    ttft_s: Figures
    ttft_s_chat: Figures
    ttft_s_agents: Figures
    tpot_s: Figures
    goodput: float  # requests a second within both objectives
    free: float  # mean share of the memory
    internal_fragmentation: float  # mean share of the memory
    external_fragmentation: float  # mean share of what is free
    sequences: float  # mean number that hold memory

    @property
    def agent_failure_ratio(self) -> float:
        """Of all agents that arrived."""
        return self.agent_failures / max(1, self.agents)


@dataclass(frozen=True, slots=True)
class FailureFigures:
    """One allocation that failed."""

    request: str
    kind: str
    phase: str
    at_s: float
    asked: int
    free: int
    free_share: float
    largest_hole: int
    enough_was_free: bool  # only not in one piece


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model in all."""

    model: str
    before: PhaseFigures
    spike: PhaseFigures
    after: PhaseFigures
    failures: tuple[FailureFigures, ...]
    free_share_at_agent_failures: Figures
    preemptions: int
    steps: int
    ended_s: float


def model_figures(
    replay: Replay, arrivals: Sequence[Arrival], load: Load, objectives: Objectives
) -> ModelFigures:
    """Fold a replay."""
    _, *told = phases(load)
    before, spike, after = (phase_figures(phase, replay, arrivals, objectives) for phase in told)
    slots_total = replay.looks[0].memory.slots_total
    failures = tuple(
        failure_figures(arrival, failure, load, slots_total) for arrival, failure in replay.failures
    )
    return ModelFigures(
        model=replay.model,
        before=before,
        spike=spike,
        after=after,
        failures=failures,
        free_share_at_agent_failures=spread(
            (f.free_share for f in failures if f.kind == AGENT), (0, 10, 50, 90, 100)
        ),
        preemptions=replay.preemptions,
        steps=replay.steps,
        ended_s=replay.ended_ns / NS_PER_S,
    )


def phase_figures(
    phase: Phase, replay: Replay, arrivals: Sequence[Arrival], objectives: Objectives
) -> PhaseFigures:
    """What the requests of a phase saw, and the memory in that time."""
    here = [arrival for arrival in arrivals if phase.has(arrival.arrival_ns)]
    answers = [answer for answer in replay.answers if phase.has(answer.arrival.arrival_ns)]
    failed = [arrival.tag for arrival, _ in replay.failures if phase.has(arrival.arrival_ns)]
    looks = [look for look in replay.looks if phase.has(look.now_ns)]
    return PhaseFigures(
        requests=len(here),
        admitted=len(answers),
        agents=sum(arrival.tag == AGENT for arrival in here),
        agent_failures=failed.count(AGENT),
        chat_failures=failed.count(CHAT),
        ttft_s=ttft(answers),
        ttft_s_chat=ttft([answer for answer in answers if answer.arrival.tag == CHAT]),
        ttft_s_agents=ttft([answer for answer in answers if answer.arrival.tag == AGENT]),
        tpot_s=spread((answer.tpot_s for answer in answers), (50, 99)),
        goodput=sum(map(objectives.met_by, answers)) / phase.seconds,
        free=mean(looks, lambda memory: memory.free),
        internal_fragmentation=mean(looks, lambda memory: memory.internal_fragmentation),
        external_fragmentation=mean(looks, lambda memory: memory.external_fragmentation),
        sequences=mean(looks, lambda memory: memory.sequences),
    )


def failure_figures(
    arrival: Arrival, failure: Failure, load: Load, slots_total: int
) -> FailureFigures:
    """The evidence of one failure."""
    return FailureFigures(
        request=request_id_of(arrival),
        kind=arrival.tag,
        phase=next(phase.name for phase in phases(load) if phase.has(arrival.arrival_ns)),
        at_s=failure.now_ns / NS_PER_S,
        asked=failure.slots_asked,
        free=failure.slots_free,
        free_share=failure.slots_free / slots_total,
        largest_hole=failure.largest_hole,
        enough_was_free=failure.slots_free >= failure.slots_asked,
    )


def ttft(answers: Iterable[Answer]) -> Figures:
    return spread((answer.ttft_s for answer in answers), (50, 99))


def spread(values: Iterable[float], percents: Sequence[int]) -> Figures:
    """Percentiles by nearest rank; empty for nothing."""
    ordered = sorted(values)
    return {f"p{p}": percentile(ordered, p) for p in percents} if ordered else {}


def mean(looks: Sequence[Look], share: Callable[[MemoryState], float]) -> float:
    return sum(share(look.memory) for look in looks) / max(1, len(looks))
