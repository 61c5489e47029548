"""A request that waits beside the line while its first blocks come from elsewhere."""

from __future__ import annotations

from protos.messages import Delta, SampledToken
from replicas.engine.engine import Engine
from replicas.engine.hold import Hold, HoldState
from replicas.engine.plan import StepOutcome
from tests.unit.engine.driver import A, B, C, engine, report, request, step

PROMPT = tuple(range(100, 118))  # four blocks and two tokens


def held(subject: Engine, blocks: int = 99, prompt: tuple[int, ...] = PROMPT) -> Hold:
    subject.submit(request(A, prompt, tokens_max=2))
    hold = subject.hold(A, blocks)
    assert hold is not None
    subject.check()
    return hold


def bring(subject: Engine, hold: Hold, first: int, count: int) -> bool:
    """Blocks arrive; their content is of no interest here."""
    taken = hold.take(first, count)
    subject.check()
    is_put = taken is not None and hold.put()
    hold.settle()
    subject.check()
    return is_put


def run_on(subject: Engine) -> list[Delta]:
    """Until nobody is left who can run."""
    said: list[Delta] = []
    while (plan := subject.schedule()) is not None:
        subject.check()
        sampled = tuple(tuple(SampledToken(1) for _ in row.samples) for row in plan.rows)
        said.extend(subject.apply(StepOutcome(sampled)))
        subject.check()
    return said


def test_what_was_copied_is_a_hit_and_counted_as_copied() -> None:
    subject = engine()
    hold = held(subject)
    assert hold.look() == range(4)
    assert bring(subject, hold, 0, 3) and bring(subject, hold, 3, 1)
    assert hold.look() == range(4, 4)
    hold.let_go()
    run_on(subject)
    counters = report(subject).counters
    assert (counters.hit_tokens, counters.copied_tokens, counters.prefill_tokens) == (16, 16, 2)
    assert hold.state is HoldState.LET_GO


def test_a_held_request_is_in_no_step_and_passed_by_others() -> None:
    subject = engine()
    hold = held(subject)
    assert subject.schedule() is None and not subject.is_idle
    subject.submit(request(B, 6, tokens_max=1))
    deltas = run_on(subject)
    assert {delta.request_id for delta in deltas} == {B}
    hold.let_go()
    assert {delta.request_id for delta in run_on(subject)} == {A}


def test_it_takes_the_place_that_it_would_have_had() -> None:
    subject = engine(sequences=1)
    subject.submit(request(C, 6, tokens_max=3))
    step(subject)
    hold = held(subject)
    subject.submit(request(B, 6, tokens_max=1))
    hold.let_go()
    order = [each.request_id for each in subject.sequences()]
    assert order == [C, A, B]


def test_nothing_is_held_that_lacks_nothing_or_has_begun() -> None:
    subject = engine()
    subject.submit(request(A, PROMPT, tokens_max=2))
    run_on(subject)
    subject.submit(request(B, PROMPT, tokens_max=2))
    assert subject.hold(B, 99) is None, "all is here"
    subject.submit(request(C, (*PROMPT, *range(12)), tokens_max=2))
    assert subject.hold(C, 4) is None, "more than what is here is not to be had"
    step(subject)
    assert subject.hold(C, 99) is None, "it has begun"
    assert subject.hold(A, 99) is None, "it is not here"


def test_only_what_is_missing_is_looked_for() -> None:
    subject = engine()
    subject.submit(request(B, PROMPT[:9], tokens_max=1))
    run_on(subject)
    hold = held(subject, blocks=3)
    assert hold.look() == range(2, 3)
    assert [content.tokens for content in hold.contents(3)] == [
        PROMPT[:4],
        PROMPT[4:8],
        PROMPT[8:12],
    ]
    assert bring(subject, hold, 2, 1)
    hold.let_go()
    run_on(subject)
    counters = report(subject).counters
    assert (counters.hit_tokens, counters.copied_tokens) == (12, 4)


def test_blocks_that_do_not_follow_are_not_taken() -> None:
    subject = engine()
    hold = held(subject)
    assert hold.take(1, 1) is None
    assert bring(subject, hold, 0, 1)
    assert hold.take(0, 1) is None


def test_what_was_taken_and_not_written_is_given_back() -> None:
    subject = engine()
    hold = held(subject)
    assert hold.take(0, 3) is not None
    assert report(subject).blocks_used == 3
    hold.settle()
    assert report(subject).blocks_free == 32
    assert subject.inventory() == ()


def test_a_copy_evicts_what_is_cached_and_nobody_who_runs() -> None:
    subject = engine(blocks=9)
    subject.submit(request(B, tuple(range(12)), tokens_max=8))
    step(subject)
    hold = held(subject)
    assert bring(subject, hold, 0, 4)
    assert report(subject).sequences_running == 1
    hold.let_go()
    subject.cancel(A)
    subject.submit(request(A, tuple(range(200, 218)), tokens_max=2))
    again = subject.hold(A, 99)
    assert again is not None and bring(subject, again, 0, 4), "what is cached makes room"
    assert again.take(4, 9) is None, "who runs does not"
    run_on(subject)


def test_a_decode_takes_the_room_that_copied_blocks_keep() -> None:
    subject = engine(blocks=8)
    subject.submit(request(B, tuple(range(12)), tokens_max=20))
    step(subject)
    hold = held(subject)
    assert bring(subject, hold, 0, 4)
    run_on(subject)
    assert report(subject).counters.preemptions == 0
    assert report(subject).counters.requests_finished == 1
    assert hold.state is HoldState.HELD, "it is held still, and keeps nothing"
    hold.let_go()
    run_on(subject)
    assert report(subject).counters.requests_finished == 2


def test_the_head_of_the_line_takes_the_room_that_copied_blocks_keep() -> None:
    subject = engine(blocks=6)
    hold = held(subject)
    assert bring(subject, hold, 0, 4)
    subject.submit(request(B, tuple(range(20)), tokens_max=2))
    run_on(subject)
    assert report(subject).counters.requests_finished == 1
    assert hold.look().start < 4, "some of it is gone"
    hold.let_go()
    run_on(subject)
    assert report(subject).counters.requests_finished == 2


def test_a_cancelled_request_ends_its_hold() -> None:
    subject = engine()
    hold = held(subject)
    assert hold.take(0, 2) is not None
    subject.cancel(A)
    subject.check()
    assert hold.state is HoldState.LEFT
    assert not hold.put()
    hold.settle()
    hold.let_go()
    assert subject.is_idle and report(subject).blocks_free == 32


def test_a_deadline_and_a_withdrawal_end_it_as_well() -> None:
    subject = engine()
    subject.submit(request(B, PROMPT, deadline_ms=5), now_ns=0)
    hold = subject.hold(B, 99)
    assert hold is not None
    assert [each.request_id for each in subject.give_up(6_000_000)] == [B]
    assert hold.state is HoldState.LEFT
    another = held(subject)
    assert subject.withdraw(A, 0) == (0, 1)
    assert another.state is HoldState.LEFT and subject.is_idle


def test_a_report_counts_it_as_waiting_for_what_will_not_be_copied() -> None:
    subject = engine()
    hold = held(subject, blocks=3)
    assert bring(subject, hold, 0, 2)
    told = report(subject)
    assert (told.sequences_waiting, told.prefill_tokens_waiting) == (1, 18 - 12)
    assert (told.blocks_used, told.blocks_waiting) == (2, 3)
    assert told.blocks_unreclaimable == 0
    [sequence] = subject.sequences()
    assert (sequence.is_waiting, sequence.is_movable, sequence.blocks) == (True, False, 0)


def test_held_requests_fill_the_queue() -> None:
    subject = engine(waiting=1)
    held(subject)
    refused = subject.submit(request(B))
    assert refused is not None and refused.reason.value == "queue_full"


def test_a_chain_is_found_as_far_as_each_block_holds_what_it_must() -> None:
    source, subject = engine(), engine()
    source.submit(request(A, PROMPT, tokens_max=1))
    run_on(source)
    contents = held(subject).contents(4)
    other = held(engine(), prompt=(*PROMPT[:4], *range(50, 64))).contents(4)
    assert [len(source.find_blocks(asked)) for asked in (contents, contents[:2], other)] == [
        4,
        2,
        1,
    ]
    assert subject.find_blocks(contents) == ()
    assert source.find_blocks(contents[1:]) == source.find_blocks(contents)[1:]


def test_what_is_evicted_while_it_is_read_is_not_intact_even_if_it_comes_back() -> None:
    subject = engine(blocks=5)
    subject.submit(request(A, PROMPT, tokens_max=1))
    run_on(subject)
    found = subject.find_blocks(held(engine()).contents(4))
    assert subject.intact(found) == 4
    subject.submit(request(B, tuple(range(6)), tokens_max=1))
    run_on(subject)
    assert subject.intact(found) == 3, "the leaf went first"
    subject.submit(request(B, tuple(range(200, 219)), tokens_max=1))
    run_on(subject)
    subject.submit(request(C, PROMPT, tokens_max=1))
    run_on(subject)
    assert len(subject.find_blocks([content for _, content in found])) == 4
    assert subject.intact(found) == 0
