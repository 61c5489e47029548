"""How long a fault was felt.

*Recovery* is the time from the moment a fault struck to the first moment from
which on requests fare as before: of those due in the `WINDOW_S` that follow,
at least 95 % as many meet their objectives as of those due before anything
went wrong. Moments are the strike itself and whenever a request was due after
it. It is 0 where the first window is as good already, and unknown where nobody
asked any more. A request that the fault caught in the middle counts where it
was due: what it suffered is the *silence*, the longest pause between two
tokens of any stream that was open while the fault was on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.chaos.demand import Due
from orchestrator.chaos.phases import Trouble, is_good
from orchestrator.chaos.scenario import Objectives
from orchestrator.chaos.world import Struck
from orchestrator.workload.heard import Heard

WINDOW_S = 2.0
SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Recovery:
    """Of one fault."""

    struck: Struck
    seconds: float | None  # None: it never was as before, or nobody asked
    is_known: bool  # False: nobody asked after it
    silence_s: float


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
    wanted = SHARE * (1.0 if calm is None else calm)
    return tuple(_recovery(fault, judged, heard, wanted) for fault in struck)


def share_of(goods: Sequence[bool]) -> float | None:
    """Of those that are judged; None of nobody."""
    return goods.count(True) / len(goods) if goods else None


def _recovery(
    fault: Struck, judged: Sequence[tuple[float, bool]], heard: Sequence[Heard], wanted: float
) -> Recovery:
    began_s = fault.began_s
    later = [(due_s, good) for due_s, good in judged if due_s >= began_s]
    silences = (
        one.gap_s
        for one in heard
        if one.first_s is not None and one.first_s <= fault.ended_s and one.ended_s >= began_s
    )
    seconds = None
    for moment in (began_s, *(due_s for due_s, _ in later)):
        window = [good for due_s, good in later if moment <= due_s < moment + WINDOW_S]
        share = share_of(window)
        if share is not None and share >= wanted:
            seconds = moment - began_s
            break
    return Recovery(fault, seconds, bool(later), max(silences, default=0.0))
