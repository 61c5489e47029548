"""What a better class gets of a step that others fill, and what is reported of the others."""

from __future__ import annotations

from protos.messages import RequestClass
from tests.unit.engine.driver import A, B, C, engine, report, request, schedule, step

AGENT = RequestClass.AGENT


def test_a_long_prompt_of_a_worse_class_holds_up_a_better_one_for_no_step() -> None:
    """Power: with all prefills before all admissions, the newcomer waits for five steps."""
    subject = engine(budget=8)
    subject.submit(request(A, prompt=40, request_class=AGENT))
    step(subject)
    subject.submit(request(B, prompt=(900, 901, 902, 903, 904)))
    rows = [(row.start, len(row.tokens)) for row in schedule(subject).rows]
    assert rows == [(0, 5), (8, 3)]


def test_inside_a_class_what_is_begun_goes_on_before_who_comes() -> None:
    subject = engine(budget=8)
    subject.submit(request(A, prompt=40, request_class=AGENT))
    step(subject)
    subject.submit(request(B, prompt=(900, 901, 902), request_class=AGENT))
    assert [(row.start, len(row.tokens)) for row in schedule(subject).rows] == [(8, 8)]


def test_blocks_of_worse_classes_held_or_awaited_are_reported_as_yielding() -> None:
    """Blocks of 4: 3 held by an agent, 2 by a chat; 5 awaited by an agent without a place."""
    subject = engine(sequences=2)
    subject.submit(request(B, prompt=(900, 901, 902, 903, 904)))
    subject.submit(request(A, prompt=12, request_class=AGENT))
    step(subject)
    subject.submit(request(C, prompt=tuple(range(500, 520)), request_class=AGENT))
    assert report(subject).blocks_yielding == 3 + 5
