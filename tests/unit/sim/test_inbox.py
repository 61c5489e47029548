"""A patient inbox hands out the middle of an answer in one piece, hiding nothing."""

from __future__ import annotations

import asyncio

from orchestrator.control.seams import ReplicaLost
from orchestrator.sim.inbox import Inbox
from orchestrator.sim.loop import VirtualTimeLoop
from protos.messages import Delta, FinishReason, Handoff, RequestId, SampledToken

R = RequestId("r")


def delta(index: int, *, choice: int = 0, finish: FinishReason | None = None) -> Delta:
    return Delta(R, choice, index, (SampledToken(100 + index),), finish)


LAST = delta(3, finish=FinishReason.LENGTH)


def taken(inbox: Inbox) -> list[Delta | Handoff]:
    """All that can be taken without waiting."""

    async def take_all() -> list[Delta | Handoff]:
        events: list[Delta | Handoff] = []
        try:
            while True:
                events.append(await asyncio.wait_for(inbox.take(), timeout=1))
        except (TimeoutError, ReplicaLost):
            return events

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(take_all())


def extents(*deltas: Delta, is_patient: bool = True) -> list[tuple[int, int]]:
    """First index and number of tokens of what can be taken."""
    inbox = Inbox(is_patient=is_patient)
    for one in deltas:
        inbox.put(one)
    return [(e.first_index, len(e.tokens)) for e in taken(inbox) if isinstance(e, Delta)]


def test_the_first_delta_is_there_at_once_and_the_middle_waits() -> None:
    assert extents(delta(0), delta(1), delta(2)) == [(0, 1)]


def test_the_end_brings_the_middle_in_one_piece() -> None:
    assert extents(delta(0), delta(1), delta(2), LAST) == [(0, 1), (1, 2), (3, 1)]


def test_an_impatient_inbox_holds_nothing() -> None:
    assert extents(delta(0), delta(1), is_patient=False) == [(0, 1), (1, 1)]


def test_a_gap_stays_a_gap() -> None:
    assert extents(delta(0), delta(2), LAST) == [(0, 1), (2, 1), (3, 1)]


def test_a_repetition_stays_a_repetition() -> None:
    assert extents(delta(0), delta(1), delta(1), delta(2), LAST) == [(0, 1), (1, 1), (1, 2), (3, 1)]


def test_what_came_before_a_loss_or_a_handoff_is_handed_out() -> None:
    inbox = Inbox(is_patient=True)
    inbox.put(delta(1))
    inbox.put(Handoff(R, 0))
    inbox.put(delta(1, choice=1))
    inbox.end(ReplicaLost())
    assert taken(inbox) == [delta(1), Handoff(R, 0), delta(1, choice=1)]
