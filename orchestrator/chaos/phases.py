"""How requests fared before, during and after what went wrong, by class.

A request belongs to the phase in which it was due. *During* lasts from the
first fault or spike to the end of the last one. Refusals stand beside the
latencies of those that were admitted: either alone says little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from orchestrator.chaos.demand import Due
from orchestrator.chaos.scenario import Objectives, Scenario
from orchestrator.chaos.world import Struck
from orchestrator.workload.heard import End, Heard
from orchestrator.workload.quantiles import Figures, spread_of

PERCENTS = (50, 99)


class Phase(Enum):
    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Trouble:
    """When something was wrong, from first to last."""

    began_s: float
    ended_s: float

    def phase(self, at_s: float) -> Phase:
        if at_s < self.began_s:
            return Phase.BEFORE
        return Phase.DURING if at_s < self.ended_s else Phase.AFTER


@dataclass(frozen=True, slots=True)
class Fared:
    """How the requests of one class and phase fared."""

    request_class: str
    phase: Phase
    requests: int
    ends: dict[str, int]  # how many were answered, refused, ...
    refused_by_code: dict[str, int]
    ttft_s: Figures
    tpot_s: Figures
    good: int  # of those that are judged by objectives, so many met them
    judged: int


def trouble(scenario: Scenario, struck: Sequence[Struck]) -> Trouble:
    """Faults as they struck, spikes as they were meant, and loads of nothing but moments."""
    spikes = [(s.at_s, s.at_s + s.seconds) for load in scenario.loads for s in load.spikes]
    moments = [(at_s, at_s) for load in scenario.loads if not load.rate for at_s in load.at_s]
    times = [*((s.began_s, s.ended_s) for s in struck), *spikes, *moments]
    if not times:
        return Trouble(scenario.seconds, scenario.seconds)
    return Trouble(min(began for began, _ in times), max(ended for _, ended in times))


def is_good(due: Due, heard: Heard, objectives: Objectives) -> bool | None:
    """Whether it met its objectives; None where they do not apply.

    They do not to poison, to clients that left, and TPOT not to those that
    read slowly.
    """
    if due.is_poison or heard.end is End.LEFT:
        return None
    ttft_s, tpot_s = heard.ttft_s, heard.tpot_s
    if heard.end is not End.ANSWERED or ttft_s is None:
        return False
    is_steady = tpot_s is None or due.reads_per_s is not None or tpot_s <= objectives.tpot_s
    return ttft_s <= objectives.ttft_s and is_steady


def fared(
    dues: Sequence[Due], heard: Iterable[Heard], when: Trouble, objectives: Objectives
) -> tuple[Fared, ...]:
    """For each class and phase in which something was due."""
    due_of = {due.number: due for due in dues}
    groups: dict[tuple[str, Phase], list[Heard]] = {}
    for one in heard:
        groups.setdefault((one.request_class, when.phase(one.due_s)), []).append(one)
    order = list(Phase)
    return tuple(
        _fared(request_class, phase, groups[request_class, phase], due_of, objectives)
        for request_class, phase in sorted(groups, key=lambda key: (key[0], order.index(key[1])))
    )


def _fared(
    request_class: str,
    phase: Phase,
    group: Sequence[Heard],
    due_of: dict[int, Due],
    objectives: Objectives,
) -> Fared:
    judged = [is_good(due_of[one.number], one, objectives) for one in group]
    paced = [one for one in group if due_of[one.number].reads_per_s is None]
    refused = [one.code for one in group if one.end is End.REFUSED]
    return Fared(
        request_class=request_class,
        phase=phase,
        requests=len(group),
        ends=dict(sorted(Counter(one.end.value for one in group).items())),
        refused_by_code=dict(sorted(Counter(refused).items())),
        ttft_s=spread_of(_sorted(one.ttft_s for one in group), PERCENTS, mean=False),
        tpot_s=spread_of(_sorted(one.tpot_s for one in paced), PERCENTS, mean=False),
        good=judged.count(True),
        judged=judged.count(True) + judged.count(False),
    )


def _sorted(values: Iterable[float | None]) -> list[float]:
    return sorted(value for value in values if value is not None)
