"""Admissions, chunks and preemptions are marked on the plan that makes them; decodes are not."""

from __future__ import annotations

from protos.messages import RequestClass, RequestId
from replicas.engine.engine import Engine
from replicas.engine.marks import Work
from tests.unit.engine.driver import A, B, engine, outcome, request, schedule


def marked_step(subject: Engine) -> list[tuple[RequestId, Work]]:
    """One step, and what it was said to do while it was in flight."""
    plan = schedule(subject)
    marks = [(mark.request_id, mark.work) for mark in subject.marks]
    subject.apply(outcome(plan))
    return marks


def test_a_long_prompt_is_admitted_once_and_computed_in_chunks() -> None:
    subject = engine(budget=8)
    subject.submit(request(A, 20, tokens_max=3))
    assert marked_step(subject) == [(A, Work.ADMITTED)]
    assert [marked_step(subject) for _ in range(2)] == [[(A, Work.CHUNK)]] * 2
    assert marked_step(subject) == [], "a decode"


def test_who_gives_way_is_marked_before_who_is_let_in_and_again_when_it_comes_back() -> None:
    subject = engine(sequences=1)
    subject.submit(request(A, 6, request_class=RequestClass.BATCH))
    marked_step(subject)
    subject.submit(request(B, 7, tokens_max=1))
    assert marked_step(subject) == [(A, Work.PREEMPTED), (B, Work.ADMITTED)]
    assert marked_step(subject) == [(A, Work.ADMITTED)]


def test_unforked_siblings_are_marked_with_the_one_that_they_fork_from() -> None:
    subject = engine()
    subject.submit(request(A, 6, choices=3))
    plan = schedule(subject)
    assert [mark.choices for mark in subject.marks] == [range(3)]
    subject.apply(outcome(plan))
    assert subject.marks == (), "nothing is in flight"
