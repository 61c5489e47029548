"""What comes to an engine from another one: its room, its KV, its first step."""

from __future__ import annotations

import pytest

from protos.messages import BlockStored, Refusal, RefusalReason, Request, RequestClass, RequestId
from replicas.engine.arrival import Arrival, ArrivalState
from replicas.engine.engine import Engine
from tests.unit.engine.driver import A, B, C, engine, outcome, report, request, run, schedule, step


def coming(prompt: int | tuple[int, ...] = 9, tokens_max: int = 20) -> Request:
    """A choice that has said two tokens elsewhere: 11 tokens, 10 of them computed."""
    return request(A, prompt, tokens_max=tokens_max, output=(7, 7), first_choice=1)


def reserved(subject: Engine, asked: Request | None = None) -> Arrival:
    asked = asked or coming()
    arrival = subject.reserve(asked, asked.given_tokens - 1)
    assert isinstance(arrival, Arrival)
    subject.check()
    return arrival


def refused(answer: Arrival | Refusal) -> RefusalReason:
    assert isinstance(answer, Refusal)
    return answer.reason


def test_a_reservation_holds_blocks_and_is_no_sequence() -> None:
    subject = engine()
    arrival = reserved(subject)
    assert (arrival.state, arrival.held) == (ArrivalState.RESERVED, 0)
    assert report(subject).blocks_used == 3
    assert report(subject).sequences_running == 0
    assert subject.is_idle and subject.schedule() is None
    arrival.drop()
    subject.check()
    assert arrival.state is ArrivalState.DROPPED
    assert report(subject).blocks_used == 0


def test_an_admitted_sequence_says_its_next_token_in_the_next_step() -> None:
    subject = engine()
    arrival = reserved(subject)
    assert arrival.admit((7, 7), 10)
    subject.check()
    assert arrival.state is ArrivalState.ADMITTED
    plan = schedule(subject)
    (row,) = plan.rows
    assert (row.start, row.tokens, row.samples[0].seed) == (10, (7,), 1)
    (delta,) = subject.apply(outcome(plan))
    assert (delta.choice, delta.first_index, delta.hit_tokens) == (1, 2, 0)
    counters = report(subject).counters
    assert (counters.sequences_imported, counters.prompt_tokens, counters.hit_tokens) == (1, 0, 0)
    assert (counters.prefill_tokens, counters.decode_tokens) == (0, 1)


def test_it_goes_on_from_what_was_said_since_it_was_announced() -> None:
    subject = engine()
    arrival = reserved(subject)
    assert arrival.blocks(2, 4) is not None
    assert arrival.admit((7, 7, 8, 8, 8), 13)
    subject.check()
    (row,) = schedule(subject).rows
    assert (row.start, row.tokens, list(row.samples[0].output)) == (13, (8,), [7, 7, 8, 8, 8])


def test_a_half_computed_prompt_is_computed_on() -> None:
    subject = engine()
    arrival = subject.reserve(request(A, prompt=9), 5)
    assert isinstance(arrival, Arrival) and arrival.admit((), 5)
    (row,) = schedule(subject).rows
    assert (row.start, row.tokens, len(row.block_table)) == (5, (5, 6, 7, 8), 3)


def test_what_is_here_already_is_shared_and_never_written() -> None:
    subject = engine()
    subject.submit(request(B, prompt=9, tokens_max=1))
    list(run(subject))
    arrival = reserved(subject)
    assert arrival.held == 2
    assert report(subject).blocks_used == 3
    with pytest.raises(ValueError, match="not within 2 to"):
        arrival.blocks(1, 3)
    assert arrival.blocks(2, 3) is not None


def test_more_may_be_here_than_was_computed_there() -> None:
    subject = engine()
    subject.submit(request(B, prompt=9, tokens_max=1))
    list(run(subject))
    arrival = subject.reserve(request(A, prompt=9), 3)
    assert isinstance(arrival, Arrival) and arrival.admit((), 3)
    (row,) = schedule(subject).rows
    assert (row.start, row.tokens) == (8, (8,))


def test_a_last_token_that_could_be_shared_is_computed() -> None:
    """All eight tokens are in two named blocks here; the second one is not taken."""
    subject = engine()
    subject.submit(request(B, prompt=8, tokens_max=1))
    list(run(subject))
    arrival = subject.reserve(request(A, prompt=8), 0)
    assert isinstance(arrival, Arrival) and arrival.held == 1


def test_its_full_blocks_are_findable_from_its_admission_on() -> None:
    subject = engine()
    arrival = reserved(subject)
    assert subject.block_events() == ()
    arrival.admit((7, 7), 10)
    assert [type(event) for event in subject.block_events()] == [BlockStored, BlockStored]
    subject.submit(request(B, prompt=9))
    (_, other) = schedule(subject).rows
    assert other.start == 8


def test_what_was_computed_here_meanwhile_is_adopted() -> None:
    subject = engine()
    arrival = reserved(subject)
    subject.submit(request(B, prompt=9, tokens_max=9))
    step(subject)
    before = report(subject).blocks_used
    arrival.admit((7, 7), 10)
    subject.check()
    assert report(subject).blocks_used == before - 2


def test_the_table_grows_on_demand_until_there_is_no_room() -> None:
    subject = engine(blocks=8)
    subject.submit(request(B, prompt=(9,) * 12))
    step(subject)
    arrival = reserved(subject)
    blocks = arrival.blocks(0, 4)
    assert blocks is not None and len(set(blocks)) == 4
    assert arrival.blocks(4, 6) is None
    assert arrival.state is ArrivalState.RESERVED
    assert arrival.blocks(4, 5) is not None


def test_no_more_blocks_than_it_can_ever_fill() -> None:
    arrival = reserved(engine(), coming(tokens_max=4))
    with pytest.raises(ValueError, match="0 to 4"):
        arrival.blocks(0, 5)


def test_blocks_that_are_not_needed_after_all_are_given_back() -> None:
    subject = engine()
    arrival = reserved(subject)
    arrival.blocks(0, 6)
    arrival.admit((7, 7), 10)
    assert report(subject).blocks_used == 3


@pytest.mark.parametrize(
    ("output", "computed", "words"),
    [
        ((7,), 9, "does not continue"),
        ((7, 8), 10, "does not continue"),
        ((7, 7), 11, "11 tokens"),
        ((7, 7), -1, "-1 tokens"),
        ((7,) * 20, 10, "nothing is left"),
    ],
)
def test_what_cannot_be_is_not_admitted(output: tuple[int, ...], computed: int, words: str) -> None:
    subject = engine()
    arrival = reserved(subject)
    with pytest.raises(ValueError, match=words):
        arrival.admit(output, computed)
    assert arrival.state is ArrivalState.RESERVED
    subject.check()


def test_a_reservation_yields_before_anybody_is_preempted() -> None:
    subject = engine(blocks=5)
    subject.submit(request(B, prompt=(9,) * 7, tokens_max=9))
    step(subject)
    arrival = reserved(subject, coming(tokens_max=4))
    list(run(subject))
    assert arrival.state is ArrivalState.DROPPED
    assert report(subject).counters.preemptions == 0
    assert arrival.blocks(0, 1) is None
    assert not arrival.admit((7, 7), 10)


@pytest.mark.parametrize("bound", ["blocks", "places"])
def test_a_reservation_yields_to_a_newcomer_that_lacks_its_room(bound: str) -> None:
    subject = engine(blocks=5) if bound == "blocks" else engine(sequences=1)
    arrival = reserved(subject, coming(tokens_max=4))
    subject.submit(request(B, prompt=(9,) * 12))
    step(subject)
    assert arrival.state is ArrivalState.DROPPED
    assert report(subject).sequences_running == 1


def test_beside_a_reservation_the_watermark_is_left() -> None:
    subject = engine(blocks=6, watermark=1)
    arrival = reserved(subject, coming(tokens_max=4))
    subject.submit(request(B, prompt=(9,) * 12))
    step(subject)
    assert arrival.state is ArrivalState.DROPPED


def test_the_latest_reservation_yields_first_and_no_more_than_needed() -> None:
    subject = engine(blocks=8)
    first = reserved(subject)
    second = subject.reserve(request(C, prompt=(8,) * 9, output=(7,)), 9)
    assert isinstance(second, Arrival)
    subject.submit(request(B, prompt=(9,) * 12))
    step(subject)
    assert first.state is ArrivalState.RESERVED
    assert second.state is ArrivalState.DROPPED


def test_a_reservation_yields_to_its_own_class_also_where_others_run() -> None:
    subject = engine(blocks=8)
    subject.submit(request(B, prompt=(9,) * 5))
    step(subject)
    arrival = reserved(subject)
    subject.submit(request(C, prompt=(8,) * 16))
    step(subject)
    assert arrival.state is ArrivalState.DROPPED
    assert report(subject).sequences_running == 2


def test_a_reservation_of_a_better_class_yields_only_where_nobody_runs() -> None:
    subject = engine(blocks=8)
    batch = RequestClass.BATCH
    subject.submit(request(B, prompt=(9,) * 7, tokens_max=2, request_class=batch))
    step(subject)
    arrival = reserved(subject)
    subject.submit(request(C, prompt=(8,) * 24, request_class=batch))
    states = []
    for _ in range(2):
        step(subject)
        states.append(arrival.state)
    assert states == [ArrivalState.RESERVED, ArrivalState.DROPPED]


def test_an_admission_without_room_to_grow_drops_it() -> None:
    subject = engine(blocks=5, sequences=2)
    arrival = reserved(subject, coming(tokens_max=8))
    other = subject.reserve(request(C, prompt=(8,) * 4, output=(7,)), 4)
    assert isinstance(other, Arrival)
    assert not arrival.admit((7,) * 6, 14)
    subject.check()
    assert arrival.state is ArrivalState.DROPPED


def test_it_stands_behind_those_that_run_and_before_those_that_wait() -> None:
    subject = engine(sequences=3)
    names = [RequestId(f"r{number}") for number in range(4)]
    subject.submit(request(names[0], prompt=(8,) * 5, tokens_max=9, choices=2))
    step(subject)
    arrival = reserved(subject)
    for name in names[1:]:
        subject.submit(request(name, prompt=(9,) * 5, choices=2))
    assert arrival.admit((7, 7), 10)
    subject.check()
    order = [sequence.sequence_id for sequence in subject.sequences()]
    assert order == ["r0/0", "r0/1", "a/1", "r1/0", "r2/0", "r3/0"]


def test_a_reservation_takes_nothing_that_others_wait_for() -> None:
    subject = engine(sequences=2)
    subject.submit(request(B, prompt=5))
    assert refused(subject.reserve(coming(), 10)) is RefusalReason.QUEUE_FULL


def test_who_waits_of_a_worse_class_is_no_hindrance() -> None:
    subject = engine(sequences=2)
    subject.submit(request(B, prompt=5, request_class=RequestClass.BATCH))
    assert isinstance(subject.reserve(coming(), 10), Arrival)


@pytest.mark.parametrize(
    ("subject", "asked", "computed", "reason"),
    [
        (engine(blocks=6), coming(), 10, RefusalReason.NEVER_FITS),
        (engine(), request(A, choices=2), 3, RefusalReason.INVALID),
        (engine(), coming(), 11, RefusalReason.INVALID),
        (engine(), coming(tokens_max=2), 10, RefusalReason.INVALID),
    ],
)
def test_what_can_never_run_here_is_refused(
    subject: Engine, asked: Request, computed: int, reason: RefusalReason
) -> None:
    answer = subject.reserve(asked, computed)
    assert refused(answer) is reason
    assert isinstance(answer, Refusal) and answer.choice == asked.first_choice


def test_a_request_is_here_or_on_its_way_only_once() -> None:
    subject = engine()
    arrival = reserved(subject)
    assert refused(subject.reserve(coming(), 10)) is RefusalReason.INVALID
    doubled = subject.submit(request(A))
    assert doubled is not None and doubled.reason is RefusalReason.INVALID
    arrival.admit((7, 7), 10)
    assert refused(subject.reserve(coming(), 10)) is RefusalReason.INVALID


def test_no_room_is_no_place_either() -> None:
    subject = engine(sequences=1)
    reserved(subject)
    other = request(B, prompt=(9,) * 3, output=(7,))
    assert refused(subject.reserve(other, 3)) is RefusalReason.QUEUE_FULL


def test_a_draining_engine_reserves_nothing_until_it_is_open_again() -> None:
    subject = engine()
    arrival = reserved(subject)
    subject.drain()
    assert arrival.state is ArrivalState.DROPPED
    assert refused(subject.reserve(coming(), 10)) is RefusalReason.DRAINING
    subject.open()
    assert not subject.draining
    reserved(subject)
    assert subject.submit(request(B)) is None


@pytest.mark.parametrize("end", ["cancel", "finish", "withdraw", "export"])
def test_an_admitted_sequence_ends_like_any_other(end: str) -> None:
    subject = engine()
    assert reserved(subject).admit((7, 7), 10)
    match end:
        case "cancel":
            assert subject.cancel(A)
        case "finish":
            assert [delta.first_index for delta in run(subject)] == list(range(2, 20))
        case "withdraw":
            assert subject.withdraw(A, 1) == (1, 1)
        case "export":
            export = subject.export(A, 1)
            assert export is not None and export.request() == coming()
            export.freeze()
            export.complete()
    subject.check()
    assert subject.is_idle and report(subject).blocks_used == 0
