"""Better classes are served first, worse ones give way, and nobody gives way in vain."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from protos.messages import Delta, RefusalReason, Request, RequestClass, RequestId
from replicas.engine.engine import Engine
from tests.unit.engine.driver import A, B, C, engine, report, request, run, step

INTERACTIVE, AGENT, BATCH = RequestClass
D = RequestId("d")


def asked(
    request_id: RequestId,
    request_class: RequestClass,
    prompt: int = 4,
    tokens_max: int = 4,
    choices: int = 1,
) -> Request:
    """A prompt of its own, that shares nothing."""
    first = 100 * (1 + ord(request_id[0]) - ord("a"))
    return request(
        request_id,
        tuple(range(first, first + prompt)),
        tokens_max=tokens_max,
        choices=choices,
        request_class=request_class,
    )


def order_of_finish(deltas: Iterable[Delta]) -> list[RequestId]:
    return [delta.request_id for delta in deltas if delta.finish]


def is_running(subject: Engine) -> dict[RequestId, bool]:
    return {each.request_id: not each.is_waiting for each in subject.sequences()}


def test_a_better_class_is_admitted_first_whenever_it_came() -> None:
    subject = engine(sequences=1)
    subject.submit(asked(A, BATCH))
    subject.submit(asked(B, AGENT))
    subject.submit(asked(C, INTERACTIVE))
    assert order_of_finish(run(subject)) == [C, B, A]


def test_inside_a_class_the_older_one_is_first() -> None:
    subject = engine(sequences=1)
    for request_id in (A, B, C):
        subject.submit(asked(request_id, BATCH))
    assert order_of_finish(run(subject)) == [A, B, C]


def test_the_latest_of_the_worst_class_gives_way_to_a_head_without_a_place() -> None:
    subject = engine(sequences=3)
    subject.submit(asked(A, BATCH))
    subject.submit(asked(B, BATCH))
    subject.submit(asked(C, AGENT))
    step(subject)
    subject.submit(asked(D, INTERACTIVE))
    step(subject)
    assert is_running(subject) == {D: True, C: True, A: True, B: False}
    assert report(subject).counters.preemptions == 1


@pytest.mark.parametrize("request_class", RequestClass)
def test_nobody_gives_way_to_its_own_class(request_class: RequestClass) -> None:
    subject = engine(sequences=1)
    subject.submit(asked(A, request_class))
    step(subject)
    subject.submit(asked(B, request_class))
    assert order_of_finish(run(subject)) == [A, B]
    assert report(subject).counters.preemptions == 0


def test_a_worse_class_never_displaces_a_better_one() -> None:
    subject = engine(sequences=1)
    subject.submit(asked(A, AGENT))
    step(subject)
    subject.submit(asked(B, BATCH))
    assert order_of_finish(run(subject)) == [A, B]
    assert report(subject).counters.preemptions == 0


def test_no_more_give_way_than_the_head_needs() -> None:
    subject = engine(blocks=9)
    for request_id in (A, B, C):  # three blocks each, with the room to decode in
        subject.submit(asked(request_id, BATCH, prompt=9))
    step(subject)
    subject.submit(asked(D, INTERACTIVE, prompt=16))
    step(subject)
    assert is_running(subject) == {D: True, A: True, B: False, C: False}


def test_nobody_gives_way_in_vain() -> None:
    """Even all of the batch would not let the head in: it waits for its own class."""
    subject = engine(blocks=8)
    subject.submit(asked(A, INTERACTIVE, prompt=17, tokens_max=4))
    subject.submit(asked(B, BATCH, prompt=5, tokens_max=4))
    step(subject)
    subject.submit(asked(C, INTERACTIVE, prompt=20, tokens_max=4))
    step(subject)
    assert is_running(subject) == {A: True, B: True, C: False}
    assert report(subject).counters.preemptions == 0


def test_what_victims_share_is_only_freed_by_the_last_of_them() -> None:
    """Two siblings share two blocks: only both together make the room."""
    subject = engine(blocks=4, sequences=3)
    subject.submit(asked(A, BATCH, prompt=8, tokens_max=3, choices=2))
    step(subject)
    step(subject)
    assert report(subject).blocks_used == 4
    subject.submit(asked(B, INTERACTIVE, prompt=8, tokens_max=1))
    step(subject)
    assert report(subject).counters.preemptions == 2
    told = [(delta.request_id, delta.choice) for delta in run(subject) if delta.finish]
    assert told == [(A, 0), (A, 1)]


def test_who_gave_way_goes_on_later_and_says_nothing_twice() -> None:
    subject = engine(blocks=4)
    subject.submit(asked(A, BATCH, prompt=8, tokens_max=6))
    deltas = [*step(subject), *step(subject)]
    subject.submit(asked(B, INTERACTIVE, prompt=8, tokens_max=6))
    deltas.extend(run(subject))
    assert order_of_finish(deltas) == [B, A]
    assert [delta.first_index for delta in deltas if delta.request_id == A] == list(range(6))
    assert report(subject).counters.preemptions == 1


def test_who_gave_way_is_not_back_before_there_is_room_again() -> None:
    subject = engine(blocks=6, watermark=1)
    subject.submit(asked(A, BATCH, prompt=12, tokens_max=8))
    step(subject)
    subject.submit(asked(B, INTERACTIVE, prompt=12, tokens_max=8))
    deltas = list(run(subject))
    assert order_of_finish(deltas) == [B, A]
    assert report(subject).counters.preemptions == 1


def test_a_decode_without_a_block_takes_it_from_the_worst_class() -> None:
    subject = engine(blocks=4)
    subject.submit(asked(A, BATCH, prompt=6, tokens_max=9))
    subject.submit(asked(B, INTERACTIVE, prompt=8))
    step(subject)
    assert [delta.request_id for delta in step(subject)] == [B]
    assert is_running(subject) == {B: True, A: False}
    assert order_of_finish(run(subject)) == [B, A]


def test_worse_classes_cannot_lock_a_better_one_out_of_the_queue() -> None:
    subject = engine(waiting=1)
    assert subject.submit(asked(A, BATCH)) is None
    assert subject.submit(asked(B, AGENT)) is None
    assert subject.submit(asked(C, INTERACTIVE)) is None
    for request_class in RequestClass:
        refused = subject.submit(asked(D, request_class))
        assert refused is not None and refused.reason is RefusalReason.QUEUE_FULL


def test_better_classes_do_fill_the_queue_of_worse_ones() -> None:
    subject = engine(waiting=1)
    subject.submit(asked(A, INTERACTIVE))
    refused = subject.submit(asked(B, BATCH))
    assert refused is not None and refused.reason is RefusalReason.QUEUE_FULL


def test_headroom_is_left_to_the_interactive_class_while_it_is_here() -> None:
    subject = engine(blocks=6, headroom=3)
    subject.submit(asked(A, INTERACTIVE, tokens_max=3))
    subject.submit(asked(B, AGENT))
    step(subject)
    assert is_running(subject) == {A: True, B: True}  # 4 blocks stay
    subject.submit(asked(C, AGENT, prompt=8))
    step(subject)
    assert not is_running(subject)[C]
    subject.submit(asked(D, INTERACTIVE, prompt=8))
    step(subject)
    assert is_running(subject)[D]


def test_headroom_is_lent_when_nobody_interactive_was_here_for_long() -> None:
    subject = engine(blocks=6, headroom=3, headroom_steps=2)
    subject.submit(asked(A, INTERACTIVE, tokens_max=1))
    step(subject)
    subject.submit(asked(B, BATCH, tokens_max=9))
    subject.submit(asked(C, BATCH, prompt=12))
    waits = []
    for _ in range(3):
        step(subject)
        waits.append(not is_running(subject)[C])
    assert waits == [True, False, False]


def test_alone_a_sequence_may_take_the_headroom_at_once() -> None:
    subject = engine(blocks=4, headroom=3)
    subject.submit(asked(A, INTERACTIVE, tokens_max=1))
    step(subject)
    subject.submit(asked(B, BATCH, prompt=13))
    step(subject)
    assert is_running(subject) == {B: True}
