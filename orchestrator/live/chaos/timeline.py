"""Strikes in the order of time, many at once, by one thread."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.chaos.faults import Fault, TimedFault
from orchestrator.chaos.world import Struck

Steps = Iterator[float]  # each: seconds until the next one
LOOK_S = 0.05


@dataclass(order=True, slots=True)
class Pending:
    """A strike and when its next step is due; of two at once the earlier planned goes first."""

    due_s: float
    number: int
    timed: TimedFault = field(compare=False)
    steps: Steps = field(compare=False)
    began_s: float | None = field(default=None, compare=False)


def play(
    faults: Sequence[TimedFault],
    strike: Callable[[Fault], Steps],
    clock: Callable[[], float],
    *,
    meanwhile: Callable[[], None],
    until: Callable[[], bool],
    tell: Callable[[str], None],
) -> tuple[Struck, ...]:
    """Returns when all have struck and healed, and it is enough; looks `meanwhile` all the time."""
    pending = [
        Pending(timed.at_s, number, timed, strike(timed.fault))
        for number, timed in enumerate(faults)
    ]
    heapq.heapify(pending)
    struck = []
    while pending or not until():
        meanwhile()
        wait_s = pending[0].due_s - clock() if pending else LOOK_S
        if not pending or wait_s > 0:
            time.sleep(min(wait_s, LOOK_S))
            continue
        one = heapq.heappop(pending)
        if one.began_s is None:
            one.began_s = clock()
            tell(f"{one.began_s:.1f} s: {one.timed.fault}")
        pause_s = next(one.steps, None)
        if pause_s is None:
            struck.append(Struck(one.timed, one.began_s, clock()))
        else:
            one.due_s = clock() + pause_s
            heapq.heappush(pending, one)
    return tuple(struck)
