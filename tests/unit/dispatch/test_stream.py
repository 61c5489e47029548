"""What counts as the next delta of a request."""

from __future__ import annotations

import pytest

from orchestrator.gateway.stream import BrokenStream, Continuity
from protos.messages import Delta, FinishReason, RequestId, SampledToken


def piece(choice: int, first_index: int, count: int, *, last: bool = False) -> Delta:
    tokens = tuple(SampledToken(token) for token in range(count))
    finish = FinishReason.STOP if last else None
    return Delta(RequestId("r"), choice, first_index, tokens, finish)


def test_choices_are_followed_apart_and_all_must_finish() -> None:
    continuity = Continuity(2)
    for delta in (piece(0, 0, 3), piece(1, 0, 1), piece(0, 3, 2, last=True)):
        continuity.take(delta)
    assert not continuity.is_complete
    continuity.take(piece(1, 1, 0, last=True))
    assert continuity.is_complete


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(piece(0, 4, 1), id="a gap"),
        pytest.param(piece(0, 2, 1), id="a repetition"),
        pytest.param(piece(2, 0, 1), id="an unknown choice"),
        pytest.param(piece(1, 1, 1), id="a token after the finish"),
    ],
)
def test_anything_but_the_next_tokens_is_broken(wrong: Delta) -> None:
    continuity = Continuity(2)
    continuity.take(piece(0, 0, 3))
    continuity.take(piece(1, 0, 1, last=True))
    with pytest.raises(BrokenStream):
        continuity.take(wrong)
