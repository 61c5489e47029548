"""An outbox sends a choice's first delta at once and the rest in one, hiding nothing."""

from __future__ import annotations

from orchestrator.sim.outbox import Outbox
from protos.messages import Delta, FinishReason, RequestId, SampledToken

R = RequestId("r")


def delta(index: int, *, finish: FinishReason | None = None) -> Delta:
    return Delta(R, 0, index, (SampledToken(100 + index),), finish)


def sent(*deltas: Delta) -> list[tuple[int, int]]:
    """First index and number of tokens of what leaves."""
    outbox = Outbox()
    for one in deltas:
        outbox.add(one)
    return [(one.first_index, len(one.tokens)) for one in outbox.take()]


LAST = delta(3, finish=FinishReason.LENGTH)


def test_the_first_delta_leaves_at_once() -> None:
    assert sent(delta(0), delta(1), delta(2)) == [(0, 1)]


def test_the_last_delta_takes_along_what_was_held() -> None:
    outbox = Outbox()
    for index in range(3):
        outbox.add(delta(index))
    outbox.take()
    outbox.add(LAST)
    (joined,) = outbox.take()
    assert joined.first_index == 1
    assert [sampled.token for sampled in joined.tokens] == [101, 102, 103]
    assert joined.finish is FinishReason.LENGTH


def test_a_gap_stays_a_gap() -> None:
    assert sent(delta(0), delta(1), LAST) == [(0, 1), (1, 1), (3, 1)]


def test_a_repetition_stays_a_repetition() -> None:
    assert sent(delta(0), delta(1), delta(1), delta(2), LAST) == [(0, 1), (1, 1), (1, 3)]


def test_a_dropped_request_leaves_nothing_behind() -> None:
    outbox = Outbox()
    outbox.add(delta(1))
    outbox.drop(R)
    outbox.add(LAST)
    assert [one.first_index for one in outbox.take()] == [3]
