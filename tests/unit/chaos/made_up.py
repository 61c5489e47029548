"""Scenarios, records and observations made up to be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orchestrator.chaos.demand import Due
from orchestrator.chaos.faults import Kill, TimedFault
from orchestrator.chaos.scenario import Load, Scenario, Shape
from orchestrator.chaos.world import Observed, Struck
from orchestrator.workload.heard import End, Heard
from orchestrator.workload.traffic import NS_PER_S, Arrival
from protos.messages import RequestClass

WORDS = "what the request says"
LOAD = Load("A", "interactive", 2.0, 32, (4, 8), (5, 9))
SCENARIO = Scenario("made-up", "nothing happens", 10.0, Shape(), (LOAD,))


def due(number: int, due_s: float = 0.0, **changes: Any) -> Due:
    arrival = Arrival(
        number,
        round(due_s * NS_PER_S),
        input_tokens=20,
        output_tokens=len(WORDS),
        tag="A",
        request_class=RequestClass.INTERACTIVE,
    )
    one = Due(arrival, leaves_after_s=None, reads_per_s=None, is_poison=False)
    return replace(one, **changes)


def heard(number: int, due_s: float = 0.0, **changes: Any) -> Heard:
    """An answer as it should be: the first token after 0.1 s, the last one after 0.5 s."""
    one = Heard(
        number=number,
        tag="A",
        request_class="interactive",
        due_s=due_s,
        sent_s=due_s,
        ended_s=due_s + 0.5,
        end=End.ANSWERED,
        first_s=due_s + 0.1,
        last_s=due_s + 0.5,
        gap_s=0.02,
        tokens=len(WORDS),
        said=(WORDS,),
    )
    return replace(one, **changes)


def refused(number: int, due_s: float = 0.0, **changes: Any) -> Heard:
    said_no = heard(
        number,
        due_s,
        end=End.REFUSED,
        code="queue_full",
        status=429,
        first_s=None,
        last_s=None,
        tokens=0,
        said=(),
    )
    return replace(said_no, **changes)


def observed(records: Sequence[Heard], **changes: Any) -> Observed:
    one = Observed(
        heard=tuple(records),
        expected={record.number: (WORDS,) for record in records},
        struck=(),
        leaks=(),
        totals={"steps": 3},
        seconds=12.0,
    )
    return replace(one, **changes)


def struck(began_s: float, ended_s: float) -> Struck:
    return Struck(TimedFault(began_s, Kill("replica-0", 1.0)), began_s, ended_s)
