"""A plan is repeated only while the scheduler would make it again, and leaves no trace of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from protos.messages import RequestClass, SampledToken
from replicas.engine.arrival import Arrival
from replicas.engine.engine import Engine
from replicas.engine.plan import StepOutcome, StepPlan
from tests.unit.engine.driver import (
    A,
    B,
    C,
    engine,
    outcome,
    report,
    request,
    run,
    schedule,
    step,
)

STEPS = 9
ROOMY = 16  # tokens in a block: more than the steps by a plan


def distinct(first: int, tokens: int) -> tuple[int, ...]:
    return tuple(range(first, first + tokens))


def decoding(subject: Engine) -> None:
    """Two sequences that share nothing, with their prompts computed."""
    subject.submit(request(A, distinct(0, 6), tokens_max=20))
    subject.submit(request(B, distinct(100, 5), tokens_max=30))
    step(subject)


def test_a_plan_of_decodes_is_good_for_several_steps() -> None:
    subject = engine(block_size=ROOMY, steps=STEPS)
    decoding(subject)
    plan = schedule(subject)
    assert plan.steps_max == STEPS
    assert [len(row.tokens) for row in plan.rows] == [1, 1], "the rows of the first step"
    deltas = subject.apply(outcome(plan, steps=STEPS))
    subject.check()
    assert [(len(delta.tokens), delta.first_index) for delta in deltas] == [(9, 1), (9, 1)]
    assert report(subject).counters.steps == 1 + STEPS


def test_nobody_reaches_its_last_token_before_the_last_step() -> None:
    subject = engine(block_size=32, steps=STEPS)
    subject.submit(request(A, distinct(0, 6), tokens_max=4))
    subject.submit(request(B, distinct(100, 5), tokens_max=30))
    step(subject)
    plan = schedule(subject)
    assert plan.steps_max == 3
    first, second = subject.apply(outcome(plan, steps=3))
    assert first.finish is not None
    assert second.finish is None
    subject.check()
    assert schedule(subject).steps_max == STEPS


def one_waits(subject: Engine) -> None:
    subject.submit(request(C, distinct(200, 60), tokens_max=1))


def one_is_held(subject: Engine) -> None:
    subject.submit(request(C, distinct(200, 40)))
    assert subject.hold(C, 2) is not None


def one_is_reserved(subject: Engine) -> None:
    assert isinstance(subject.reserve(request(C, distinct(200, 8), output=(1,)), 8), Arrival)


def one_is_frozen(subject: Engine) -> None:
    subject.submit(request(C, distinct(200, 6), tokens_max=20))
    step(subject)
    export = subject.export(C, 0)
    assert export is not None
    export.freeze()


def one_is_admitted(subject: Engine) -> None:
    subject.submit(request(C, distinct(200, 8)))


def one_prefills(subject: Engine) -> None:
    subject.submit(request(C, distinct(200, 30), tokens_max=1))
    step(subject)
    assert len(schedule(subject).rows[-1].tokens) > 1, "a chunk"
    subject.apply(outcome_of_in_flight(subject))


def outcome_of_in_flight(subject: Engine) -> StepOutcome:
    assert subject._in_flight is not None
    return outcome(subject._in_flight.plan)


def one_may_stop(subject: Engine) -> None:
    subject.submit(request(C, distinct(200, 6), tokens_max=20, stop=(5,)))
    step(subject)


def one_writes_to_a_copy(subject: Engine) -> None:
    subject.submit(request(C, distinct(200, 6), choices=2))
    step(subject)


def one_is_at_its_last_token(subject: Engine) -> None:
    subject.submit(request(C, distinct(200, 6), tokens_max=2))
    step(subject)


@pytest.mark.parametrize(
    "given",
    [
        one_waits,
        one_is_held,
        one_is_reserved,
        one_is_frozen,
        one_is_admitted,
        one_prefills,
        one_may_stop,
        one_writes_to_a_copy,
        one_is_at_its_last_token,
    ],
)
def test_it_is_good_for_one_step_where(given: Callable[[Engine], None]) -> None:
    subject = engine(4, block_size=ROOMY, budget=8, steps=STEPS)
    subject.submit(request(A, distinct(0, 5), tokens_max=20))
    step(subject)
    assert schedule(subject).steps_max == STEPS, "without it"
    subject.apply(outcome_of_in_flight(subject))
    given(subject)
    assert schedule(subject).steps_max == 1
    subject.check()


def test_a_grammar_may_end_an_answer() -> None:
    subject = engine(block_size=ROOMY, steps=STEPS)
    subject = Engine(replace(subject.config, takes_grammars=True))
    asked = request(A, tokens_max=20)
    subject.submit(replace(asked, sampling=replace(asked.sampling, grammar="start: /a+/")))
    step(subject)
    assert schedule(subject).steps_max == 1


def test_it_is_good_for_one_step_where_not_all_have_a_row() -> None:
    subject = engine(block_size=ROOMY, budget=2, steps=STEPS)
    subject.submit(request(A, distinct(0, 2), tokens_max=30, choices=3))
    step(subject)
    step(subject)  # the forks have their own blocks
    plan = schedule(subject)
    assert not plan.copies
    assert len(plan.rows) == 2, "one of three decodes waits for the budget"
    assert plan.steps_max == 1


def test_it_ends_where_somebody_needs_another_block() -> None:
    subject = engine(steps=STEPS)
    decoding(subject)
    plan = schedule(subject)
    # Blocks hold 4: of two of them 6 slots are full in one table, and 5 in the other.
    assert plan.steps_max == 2
    subject.apply(outcome(plan, steps=2))
    assert schedule(subject).steps_max == 1, "the other one's next step is its block's last"


def test_nothing_is_evicted_before_its_block_is_needed() -> None:
    """Whoever comes while a plan is repeated finds what he would have found without it."""
    repeating, single = engine(8, steps=STEPS), engine(8)
    for subject in (repeating, single):
        subject.submit(request(C, distinct(200, 13), tokens_max=1))
        list(run(subject))
        decoding(subject)
        assert schedule(subject)
    assert repeating.inventory() == single.inventory()
    assert len(repeating.inventory()) > 2, "more than what runs"


def test_an_engine_that_is_not_told_so_repeats_nothing() -> None:
    subject = engine(block_size=ROOMY)
    decoding(subject)
    assert schedule(subject).steps_max == 1


@pytest.mark.parametrize(
    ("block_size", "steps"), [(4, 1), (4, 2), *((ROOMY, steps) for steps in range(1, STEPS + 1))]
)
def test_however_many_steps_were_taken_all_is_as_after_single_ones(
    block_size: int, steps: int
) -> None:
    repeating, single = engine(block_size=block_size, steps=STEPS), engine(block_size=block_size)
    for subject in (repeating, single):
        decoding(subject)
    plan = schedule(repeating)
    assert schedule(single)
    assert report(repeating) == report(single), "nor does anything show while it runs"
    assert repeating.sequences() == single.sequences()
    repeating.check()
    repeating.apply(outcome(plan, steps=steps))
    repeating.check()
    single.apply(outcome_of_in_flight(single))
    for _ in range(steps - 1):
        step(single)
    assert report(repeating) == report(single)
    assert repeating.sequences() == single.sequences()
    assert repeating.inventory() == single.inventory()
    assert list(run(repeating))[-1].tokens[-1:] == list(run(single))[-1].tokens


def test_the_headroom_is_lent_after_as_many_steps() -> None:
    subject = engine(headroom=2, headroom_steps=4, steps=STEPS)
    subject.submit(request(A, distinct(0, 6), tokens_max=1))
    step(subject)
    batch = request(B, distinct(50, 4), tokens_max=20, request_class=RequestClass.BATCH)
    subject.submit(batch)
    step(subject)
    room = subject._scheduler.room
    subject.apply(outcome(schedule(subject), steps=2))
    assert not room.is_lent
    subject.apply(outcome(schedule(subject), steps=2))
    assert room.is_lent


def test_what_is_cancelled_meanwhile_says_nothing_and_its_blocks_are_free() -> None:
    subject = engine(block_size=ROOMY, steps=STEPS)
    decoding(subject)
    plan = schedule(subject)
    subject.cancel(A)
    subject.check()
    deltas = subject.apply(outcome(plan, steps=STEPS))
    subject.check()
    assert [delta.request_id for delta in deltas] == [B]
    assert report(subject).blocks_used == 1


def said(*rows: int) -> Callable[[StepPlan], StepOutcome]:
    """So many tokens for each row, in three steps."""

    def make(_plan: StepPlan) -> StepOutcome:
        return StepOutcome(tuple((SampledToken(7),) * count for count in rows), 3)

    return make


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (said(3, 2), "one token for each sample"),
        (said(4, 4), "one token for each sample"),
        (lambda plan: outcome(plan, steps=STEPS + 1), "10 steps by a plan for 9"),
        (lambda plan: outcome(plan, steps=0), "0 steps by a plan for 9"),
        (lambda plan: outcome(plan, 1000, steps=2), "sampled token 1000"),
    ],
)
def test_an_outcome_that_cannot_be_is_refused(
    made: Callable[[StepPlan], StepOutcome], says: str
) -> None:
    subject = engine(block_size=ROOMY, steps=STEPS)
    decoding(subject)
    plan = schedule(subject)
    with pytest.raises(AssertionError, match=says):
        subject.apply(made(plan))


def test_a_plan_that_may_not_be_repeated_has_an_outcome_of_one_step() -> None:
    subject = engine()
    decoding(subject)
    with pytest.raises(AssertionError, match="2 steps by a plan for 1"):
        subject.apply(outcome(schedule(subject), steps=2))
