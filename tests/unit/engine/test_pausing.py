"""Paused instead of computed again: what a preemption saves, and what brings it back."""

from __future__ import annotations

import pytest

from protos.messages import RequestClass, RequestId
from replicas.engine.engine import Engine
from replicas.engine.plan import StepPlan
from tests.unit.engine.driver import A, B, C, engine, outcome, report, request, run, schedule


def distinct(first: int, tokens: int) -> tuple[int, ...]:
    """A prompt that shares nothing with one of another `first`."""
    return tuple(range(first, first + tokens))


def crowded(
    *,
    blocks: int = 5,
    host: int = 9,
    host_block_ns: int = 0,
    prompt: tuple[int, ...] = distinct(100, 7),
) -> Engine:
    """B will be preempted by A: with five blocks, when 11 of its tokens have been computed."""
    subject = engine(blocks=blocks, host=host, host_block_ns=host_block_ns, token_ns=1)
    subject.submit(request(A, distinct(0, 4), tokens_max=9))
    subject.submit(request(B, prompt, tokens_max=6, request_class=RequestClass.BATCH))
    return subject


def until_preempted(subject: Engine) -> StepPlan:
    """Steps up to the plan that preempts somebody, which is applied, too."""
    while True:
        plan = schedule(subject)
        subject.apply(outcome(plan))
        if report(subject).counters.preemptions:
            return plan


def until_restored(subject: Engine) -> StepPlan:
    """Steps up to the plan that loads something, which is applied, too."""
    while True:
        plan = schedule(subject)
        subject.apply(outcome(plan))
        if plan.loads:
            return plan


def test_a_paused_sequence_goes_on_where_it_was_and_computes_nothing_again() -> None:
    subject = crowded()
    told: dict[RequestId, int] = {A: 0, B: 0}
    for delta in run(subject):
        assert delta.first_index == told[delta.request_id]
        told[delta.request_id] += 1
    assert told == {A: 9, B: 6}
    counters = report(subject).counters
    assert (counters.preemptions, counters.pauses) == (1, 1)
    assert counters.recomputed_tokens == counters.hit_tokens == 0
    assert (counters.prefill_tokens, counters.decode_tokens) == (11, 8 + 5)
    assert 0 < counters.restored_tokens <= 11
    assert report(subject).host_blocks_used == 0


def test_its_blocks_are_saved_before_they_are_given_away_and_its_half_full_one_as_well() -> None:
    subject = crowded()
    tables: set[tuple[int, ...]] = set()
    plan = schedule(subject)
    while not plan.saves:
        tables.add(tuple(block for row in plan.rows[1:] for block in row.block_table))
        subject.apply(outcome(plan))
        plan = schedule(subject)
    assert tuple(save.block for save in plan.saves) in tables
    assert len(plan.saves) == 3
    assert plan.rows[0].block_table[-1] == plan.saves[-1].block, "and written in the same step"
    assert report(subject).host_blocks_used == 3


def test_only_what_is_not_in_the_cache_is_loaded() -> None:
    subject = crowded()
    until_preempted(subject)
    plan = until_restored(subject)
    row = next(row for row in plan.rows if len(row.block_table) == 3)
    assert (row.start, len(row.tokens)) == (11, 1)
    loaded = [load.block for load in plan.loads]
    assert loaded == list(row.block_table[-len(loaded) :])
    assert report(subject).counters.restored_tokens == 11 - 4 * (3 - len(loaded))
    assert report(subject).host_blocks_used == 0


@pytest.mark.parametrize(
    ("host", "host_block_ns", "saved"), [(9, 3, 3), (9, 4, 0), (2, 3, 2), (2, 4, 0)]
)
def test_it_is_paused_where_that_is_cheaper(host: int, host_block_ns: int, saved: int) -> None:
    """Blocks out and back, or what fits of eleven tokens at a nanosecond each."""
    subject = crowded(host=host, host_block_ns=host_block_ns)
    assert len(until_preempted(subject).saves) == saved
    assert report(subject).counters.pauses == bool(saved)
    list(run(subject))
    assert (report(subject).counters.recomputed_tokens == 0) == (saved == 3)


def test_without_host_memory_nothing_is_saved() -> None:
    subject = crowded(host=0)
    assert until_preempted(subject).saves == ()
    assert report(subject).host_blocks_total == 0


def test_if_not_all_of_it_fits_the_first_part_is_saved_and_the_rest_computed_again() -> None:
    subject = crowded(host=2)
    assert len(until_preempted(subject).saves) == 2
    list(run(subject))
    assert report(subject).counters.recomputed_tokens == 3


def test_what_others_hold_is_not_saved() -> None:
    """The first block of B is A's prompt."""
    subject = crowded(blocks=4, prompt=distinct(0, 7))
    saves = until_preempted(subject).saves
    assert len(saves) == 2
    list(run(subject))
    counters = report(subject).counters
    assert counters.pauses == 1 and counters.recomputed_tokens == 0


def test_a_sibling_waits_for_the_blocks_that_another_one_loads() -> None:
    """Both come back at once; what they share was saved with the one that lost it last."""
    subject = engine(blocks=11, host=20, token_ns=1)
    asked = request(B, distinct(100, 17), tokens_max=8, choices=2, request_class=RequestClass.BATCH)
    subject.submit(asked)
    for _ in range(4):
        subject.apply(outcome(schedule(subject)))
    subject.submit(request(A, distinct(0, 38), tokens_max=3))
    list(run(subject))
    counters = report(subject).counters
    assert (counters.preemptions, counters.pauses) == (2, 1)
    assert (counters.restored_tokens, counters.recomputed_tokens) == (16, 0)


def test_what_was_saved_behind_a_gap_is_dropped_and_computed_again() -> None:
    """When B comes back, C has evicted the block that B had shared with A."""
    subject = crowded(blocks=4, prompt=distinct(0, 7))
    until_preempted(subject)
    subject.cancel(A)
    subject.submit(request(C, distinct(200, 13), tokens_max=2))
    list(run(subject))
    counters = report(subject).counters
    assert (counters.pauses, counters.restored_tokens, counters.recomputed_tokens) == (1, 0, 10)
    assert report(subject).host_blocks_used == 0


def test_a_waiting_paused_sequence_leaves_next_to_nothing_to_compute() -> None:
    subject = crowded()
    until_preempted(subject)
    assert report(subject).sequences_waiting == 1
    assert report(subject).prefill_tokens_waiting == 1
    (waiting,) = (each for each in subject.sequences() if each.is_waiting)
    assert (waiting.blocks, waiting.tokens) == (0, 12)


def test_it_does_not_wait_for_somebody_who_computes_what_it_has_stored() -> None:
    subject = crowded()
    until_preempted(subject)
    subject.cancel(A)
    subject.submit(request(C, distinct(200, 17), tokens_max=1))
    subject.apply(outcome(schedule(subject)))  # all blocks were its
    subject.submit(request(A, distinct(100, 7)))
    plan = schedule(subject)
    assert [(row.start, len(row.tokens)) for row in plan.rows] == [(0, 7), (11, 1)]
    assert len(plan.loads) == 3


@pytest.mark.parametrize("way", ["cancel", "withdraw"])
def test_who_leaves_while_he_is_paused_gives_his_slots_back(way: str) -> None:
    subject = crowded()
    until_preempted(subject)
    assert report(subject).host_blocks_used == 3
    assert subject.cancel(B) if way == "cancel" else subject.withdraw(B, 0) == (0, 1)
    subject.check()
    assert report(subject).host_blocks_used == 0
    list(run(subject))


def test_a_sequence_that_leaves_in_the_step_that_loads_it_has_no_slots() -> None:
    subject = crowded()
    until_preempted(subject)
    plan = schedule(subject)
    while not plan.loads:
        subject.apply(outcome(plan))
        plan = schedule(subject)
    assert subject.cancel(B)
    subject.apply(outcome(plan))
    subject.check()
    assert report(subject).blocks_used == report(subject).host_blocks_used == 0


def test_a_preemption_that_no_step_follows_saves_nothing() -> None:
    """A is about to leave with its blocks; B needs one more, and has nobody behind it."""
    subject = crowded(blocks=4)
    for _ in range(2):
        subject.apply(outcome(schedule(subject)))
    export = subject.export(A, 0)
    assert export is not None
    export.freeze()
    while (plan := subject.schedule()) is not None:
        subject.apply(outcome(plan))
    subject.check()
    assert report(subject).counters.preemptions == 1
    assert report(subject).counters.pauses == 0
    assert report(subject).host_blocks_used == 0
    export.thaw()
    assert sum(1 for _ in run(subject)) > 0


def test_check_finds_a_slot_that_was_lost() -> None:
    subject = crowded()
    subject._scheduler.host._free.pop()
    with pytest.raises(AssertionError, match="lost or lent"):
        subject.check()
