"""Inside a class whoever is due first goes first, and who is overdue does not begin."""

from __future__ import annotations

from protos.messages import RefusalReason, Request, RequestClass, RequestId
from replicas.engine.engine import Engine
from tests.unit.engine.driver import A, B, C, engine, report, request, run, step

NS_PER_MS = 1_000_000
INTERACTIVE, AGENT, _ = RequestClass
D = RequestId("d")


def asked(
    request_id: RequestId,
    deadline_ms: int | None = None,
    *,
    request_class: RequestClass = INTERACTIVE,
    prompt: int = 4,
    choices: int = 1,
) -> Request:
    """A prompt of its own, that shares nothing."""
    first = 100 * (1 + ord(request_id[0]) - ord("a"))
    return request(
        request_id,
        tuple(range(first, first + prompt)),
        choices=choices,
        request_class=request_class,
        deadline_ms=deadline_ms,
    )


def order(subject: Engine) -> list[RequestId]:
    """In which they finish, one after the other."""
    return [delta.request_id for delta in run(subject) if delta.finish]


def test_the_earliest_deadline_goes_first() -> None:
    subject = engine(sequences=1)
    for request_id, deadline_ms in ((A, 3000), (B, 1000), (C, 2000)):
        subject.submit(asked(request_id, deadline_ms))
    assert order(subject) == [B, C, A]


def test_time_left_counts_from_when_it_came() -> None:
    subject = engine(sequences=1)
    subject.submit(asked(A, 1000), now_ns=900 * NS_PER_MS)
    subject.submit(asked(B, 800), now_ns=1000 * NS_PER_MS)
    assert order(subject) == [B, A]


def test_a_better_class_goes_before_any_deadline() -> None:
    subject = engine(sequences=1)
    subject.submit(asked(A, 1, request_class=AGENT))
    subject.submit(asked(B))
    assert order(subject) == [B, A]


def test_nobody_is_overtaken_by_who_comes_after_his_patience() -> None:
    """A names no deadline, and B one that is far away: both are due after 30 ms."""
    subject = engine(sequences=1, patience_ms=30)
    subject.submit(asked(A))
    subject.submit(asked(B, 10_000))
    subject.submit(asked(C, 10), now_ns=15 * NS_PER_MS)
    subject.submit(asked(D, 10), now_ns=25 * NS_PER_MS)
    assert order(subject) == [C, A, B, D]


def test_who_has_begun_is_overtaken_by_no_deadline() -> None:
    """Neither while it runs nor after a preemption."""
    subject = engine(sequences=1)
    subject.submit(asked(A, request_class=AGENT))
    step(subject)
    subject.submit(asked(B, 1, request_class=AGENT))
    subject.submit(asked(C))
    step(subject)
    assert report(subject).counters.preemptions == 1
    assert order(subject) == [C, A, B]


def test_who_waits_beyond_its_deadline_is_refused_and_leaves_nothing() -> None:
    subject = engine(sequences=2)
    subject.submit(asked(A))
    step(subject)
    subject.submit(asked(B, 20, choices=2))
    subject.submit(asked(C, 21, choices=2))
    assert subject.give_up(19 * NS_PER_MS) == ()
    (refused,) = subject.give_up(20 * NS_PER_MS)
    assert (refused.request_id, refused.reason) == (B, RefusalReason.OVERDUE)
    subject.check()
    assert order(subject) == [A, C, C]


def test_who_has_begun_goes_on_beyond_its_deadline() -> None:
    subject = engine(sequences=1)
    subject.submit(asked(A, 20, request_class=AGENT))
    step(subject)
    subject.submit(asked(B))
    step(subject)  # A waits again
    assert subject.give_up(10**12) == ()
    assert order(subject) == [B, A]


def test_who_has_begun_elsewhere_goes_on_beyond_its_deadline() -> None:
    subject = engine()
    subject.submit(request(A, output=(7,), deadline_ms=1))
    assert subject.give_up(10**12) == ()
    assert order(subject) == [A]


def test_who_is_overdue_can_be_asked_for_again() -> None:
    subject = engine()
    subject.submit(asked(A, 0))
    assert len(subject.give_up(0)) == 1
    assert subject.is_idle
    assert subject.submit(asked(A)) is None
    assert order(subject) == [A]
