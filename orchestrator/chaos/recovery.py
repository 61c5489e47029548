"""How long a fault was felt.

*Recovery* is the time from the moment a fault struck to the moment from which
on requests fare as before, in every window up to the next strike: of those due
in the `WINDOW_S` that follow a moment, at least 95 % as many meet their
objectives as of those due before anything went wrong. Moments are the strike
itself and whenever a request was due after it. It is 0 where no window was
bad. Where the last window before the next strike is bad, the fault is felt
until the next one is not. It is unknown where nobody asked any more, and where
less than half was good in calm: such a calm is no measure.

A request that the fault caught in the middle counts where it was due: what it
suffered is the *silence*, the longest pause between two tokens of any stream
that was open while the fault was on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from orchestrator.chaos.demand import Due
from orchestrator.chaos.phases import Trouble, is_good
from orchestrator.chaos.scenario import Objectives
from orchestrator.chaos.world import Struck
from orchestrator.workload.heard import Heard

WINDOW_S = 2.0
SHARE = 0.95
CALM_MIN = 0.5  # of all that was due in calm; less is no measure
NOBODY_ASKED = "nobody asked after it"
NO_CALM = "less than half of all was good before anything went wrong"

Judged = Sequence[tuple[float, bool]]  # when it was due, whether it was good; by time


@dataclass(frozen=True, slots=True)
class Recovery:
    """Of one fault."""

    struck: Struck
    seconds: float | None  # None: it never was as before, or that is unknown
    silence_s: float
    unknown: str = ""  # why that is; empty where it is known

    @property
    def is_known(self) -> bool:
        return not self.unknown


def recoveries(
    dues: Sequence[Due],
    heard: Sequence[Heard],
    struck: Sequence[Struck],
    when: Trouble,
    objectives: Objectives,
) -> tuple[Recovery, ...]:
    """One for each fault, as they struck."""
    due_of = {due.number: due for due in dues}
    judged = sorted(
        (one.due_s, good)
        for one in heard
        if (good := is_good(due_of[one.number], one, objectives)) is not None
    )
    calm = share_of([good for due_s, good in judged if due_s < when.began_s])
    if calm is not None and calm < CALM_MIN:
        return tuple(Recovery(fault, None, silence_s(fault, heard), NO_CALM) for fault in struck)
    ends = felt_until(judged, struck, SHARE * (1.0 if calm is None else calm))
    return tuple(_recovery(fault, judged, heard, ends[fault.began_s]) for fault in struck)


def share_of(goods: Sequence[bool]) -> float | None:
    """Of those that are judged; None of nobody."""
    return goods.count(True) / len(goods) if goods else None


def silence_s(fault: Struck, heard: Sequence[Heard]) -> float:
    """The longest of any stream that was open while the fault was on."""
    silences = (
        one.gap_s
        for one in heard
        if one.first_s is not None and one.first_s <= fault.ended_s and one.ended_s >= fault.began_s
    )
    return max(silences, default=0.0)


def felt_until(
    judged: Judged, struck: Sequence[Struck], wanted: float
) -> dict[float, float | None]:
    """By the moment of a strike: when all was as before. None: never, as far as was seen."""
    strikes = [*sorted({fault.began_s for fault in struck}), inf]
    ends: dict[float, float | None] = {}
    end: float | None = None  # of the strike after this one
    for began_s, next_s in reversed(list(pairwise(strikes))):
        between = [(due_s, good) for due_s, good in judged if began_s <= due_s < next_s]
        moments = list(windows(began_s, between, wanted)) if between else []
        if not between and end == next_s:  # the next one was not felt, and so this one was not
            end = began_s
        for moment, is_fine in reversed(moments):
            if not is_fine:
                break
            end = moment
        ends[began_s] = end
    return ends


def windows(began_s: float, later: Judged, wanted: float) -> Iterator[tuple[float, bool]]:
    """Each moment, and whether what follows it is good enough. Nothing is as good as before."""
    for moment in (began_s, *(due_s for due_s, _ in later)):
        share = share_of([good for due_s, good in later if moment <= due_s < moment + WINDOW_S])
        yield moment, share is None or share >= wanted


def _recovery(
    fault: Struck, judged: Judged, heard: Sequence[Heard], end_s: float | None
) -> Recovery:
    silence = silence_s(fault, heard)
    if all(due_s < fault.began_s for due_s, _ in judged):
        return Recovery(fault, None, silence, NOBODY_ASKED)
    return Recovery(fault, None if end_s is None else end_s - fault.began_s, silence)
