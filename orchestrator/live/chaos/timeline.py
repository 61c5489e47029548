"""Strikes in the order of time, many at once, by one thread."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.chaos.faults import Fault, TimedFault
from orchestrator.chaos.world import Struck


@dataclass(order=True, slots=True)
class Pending:
    """A strike and when its next step is due; of two at once the earlier planned goes first."""

    due_s: float
    number: int
    began_s: float = field(compare=False)
    timed: TimedFault = field(compare=False)
    steps: Iterator[float] = field(compare=False)


def play(
    faults: Sequence[TimedFault],
    strike: Callable[[Fault], Iterator[float]],
    clock: Callable[[], float],
    *,
    tell: Callable[[str], None] = lambda sentence: None,
) -> tuple[Struck, ...]:
    """Returns when all have struck and healed."""
    pending = [
        Pending(timed.at_s, number, timed.at_s, timed, strike(timed.fault))
        for number, timed in enumerate(faults)
    ]
    heapq.heapify(pending)
    begun: set[int] = set()
    struck = []
    while pending:
        one = heapq.heappop(pending)
        time.sleep(max(0.0, one.due_s - clock()))
        if one.number not in begun:
            begun.add(one.number)
            one.began_s = clock()
            tell(f"{one.began_s:.1f} s: {one.timed.fault}")
        pause_s = next(one.steps, None)
        if pause_s is None:
            struck.append(Struck(one.timed, one.began_s, clock()))
        else:
            one.due_s = clock() + pause_s
            heapq.heappush(pending, one)
    return tuple(struck)
