"""Who runs, in which order, on which blocks: seen through the plans of an engine."""

from __future__ import annotations

import pytest

from protos.messages import RequestId, SampledToken
from replicas.engine.plan import StepOutcome, StepPlan
from tests.unit.engine.driver import A, B, C, engine, outcome, report, request, run, schedule, step


def shape(plan: StepPlan) -> list[tuple[int, int]]:
    """Start and length of every row."""
    return [(row.start, len(row.tokens)) for row in plan.rows]


def distinct(first: int, tokens: int) -> tuple[int, ...]:
    """A prompt that shares nothing with one of another `first`."""
    return tuple(range(first, first + tokens))


def test_decodes_come_before_prefills_and_prefills_before_admissions() -> None:
    subject = engine(budget=10)
    subject.submit(request(A, distinct(0, 6)))
    step(subject)
    subject.submit(request(B, distinct(100, 12)))
    subject.submit(request(C, distinct(200, 5)))
    plan = schedule(subject)
    assert shape(plan) == [(6, 1), (0, 9)]
    subject.apply(outcome(plan))
    assert shape(schedule(subject)) == [(7, 1), (9, 3), (0, 5)]


@pytest.mark.parametrize("budget", [1, 3, 4, 7, 13, 64])
def test_a_prompt_is_computed_in_chunks_of_the_budget(budget: int) -> None:
    subject = engine(budget=budget)
    subject.submit(request(prompt=13, tokens_max=1))
    sizes: list[int] = []
    while not subject.is_idle:
        plan = schedule(subject)
        sizes.extend(len(row.tokens) for row in plan.rows)
        samples = [len(row.samples) for row in plan.rows]
        subject.apply(outcome(plan))
        assert samples == [1 if sum(sizes) == 13 else 0]
    assert sum(sizes) == 13
    assert max(sizes) == min(budget, 13)


def test_more_decodes_than_budget_leave_the_latest_waiting() -> None:
    subject = engine(budget=2)
    for number in range(3):
        subject.submit(request(RequestId(f"r{number}"), (number,), tokens_max=3))
    finished = [delta.request_id for delta in run(subject) if delta.finish]
    assert finished == ["r0", "r1", "r2"]


def test_nobody_overtakes_a_head_that_does_not_fit() -> None:
    subject = engine(blocks=4)
    subject.submit(request(A, distinct(0, 8), tokens_max=5))
    step(subject)
    subject.submit(request(B, distinct(100, 12), tokens_max=2))
    subject.submit(request(C, distinct(200, 1), tokens_max=1))
    assert shape(schedule(subject)) == [(8, 1)]
    assert report(subject).sequences_waiting == 2


def test_an_admission_leaves_the_watermark_to_those_running() -> None:
    subject = engine(blocks=5, watermark=1)
    subject.submit(request(A, distinct(0, 4), tokens_max=5))
    step(subject)
    subject.submit(request(B, distinct(100, 9), tokens_max=2))
    assert len(schedule(subject).rows) == 1  # 4 blocks were free, 3 needed; A's growth took one


def test_a_request_alone_may_use_every_block_in_spite_of_the_watermark() -> None:
    subject = engine(blocks=3, watermark=2)
    subject.submit(request(A, distinct(0, 9), tokens_max=4))
    assert [delta.finish is not None for delta in run(subject)] == [False, False, False, True]


def test_a_request_waits_until_all_its_choices_may_run() -> None:
    subject = engine(sequences=3)
    subject.submit(request(A, distinct(0, 3), tokens_max=2, choices=2))
    subject.submit(request(B, distinct(100, 3), tokens_max=2, choices=2))
    subject.submit(request(C, distinct(200, 3), tokens_max=2))
    order = [(delta.request_id, delta.first_index) for delta in run(subject)]
    assert order == [("a", 0)] * 2 + [("a", 1)] * 2 + [("b", 0)] * 2 + [("c", 0)] + [
        ("b", 1),
        ("b", 1),
        ("c", 1),
    ]


def test_the_latest_arrival_is_preempted_and_goes_on_where_it_was() -> None:
    subject = engine(blocks=5)
    subject.submit(request(A, distinct(0, 4), tokens_max=9))
    subject.submit(request(B, distinct(100, 7), tokens_max=6))
    told: dict[RequestId, int] = {A: 0, B: 0}
    for delta in run(subject):
        assert delta.first_index == told[delta.request_id]
        told[delta.request_id] += 1
    assert told == {A: 9, B: 6}
    counters = report(subject).counters
    assert counters.preemptions == 1
    assert counters.prefill_tokens == 11
    assert counters.decode_tokens == 8 + 5
    assert counters.hit_tokens == 0


def test_a_preempted_sequence_finds_its_own_blocks_and_calls_it_no_hit() -> None:
    subject = engine(blocks=6)
    subject.submit(request(A, distinct(0, 4), tokens_max=9))
    subject.submit(request(B, distinct(100, 12), tokens_max=8))
    hits = {delta.hit_tokens for delta in run(subject)}
    counters = report(subject).counters
    assert counters.preemptions == 1
    assert hits == {0} and counters.hit_tokens == 0
    # 3 full blocks of B were named; what is evicted meanwhile is computed again, no more.
    assert 0 < counters.recomputed_tokens < 12


def test_a_preempted_sequence_stands_before_those_that_came_later() -> None:
    subject = engine(blocks=5)
    subject.submit(request(A, distinct(0, 4), tokens_max=9))
    subject.submit(request(B, distinct(100, 7), tokens_max=6))
    while not report(subject).counters.preemptions:
        step(subject)
    subject.submit(request(C, distinct(200, 1), tokens_max=1))  # would fit at once
    order = [delta.request_id for delta in run(subject)]
    assert order.index(B) < order.index(C)


def test_siblings_share_the_prompt_and_copy_its_tail_before_the_first_write() -> None:
    subject = engine()
    subject.submit(request(prompt=6, choices=3, tokens_max=3))
    first = schedule(subject)
    (row,) = first.rows
    assert [sample.seed for sample in row.samples] == [0, 1, 2]
    subject.apply(outcome(first))
    assert report(subject).blocks_used == 2
    second = schedule(subject)
    tail = row.block_table[1]
    assert [(copy.source, copy.slots) for copy in second.copies] == [(tail, 2), (tail, 2)]
    tables = [row.block_table for row in second.rows]
    assert len({table[0] for table in tables}) == 1
    assert [table[1] for table in tables] == [*(copy.target for copy in second.copies), tail]
    assert report(subject).blocks_used == 4


def test_siblings_of_a_full_last_block_copy_nothing() -> None:
    subject = engine()
    subject.submit(request(prompt=8, choices=2, tokens_max=3))
    step(subject)
    assert schedule(subject).copies == ()


def test_the_last_holder_of_a_shared_tail_writes_in_place() -> None:
    subject = engine()
    subject.submit(request(prompt=6, choices=2, tokens_max=9, stop=(5,)))
    schedule(subject)
    subject.apply(StepOutcome(((SampledToken(5), SampledToken(7)),)))  # choice 0 stops at once
    plan = schedule(subject)
    assert len(plan.rows) == 1 and plan.copies == ()


def test_twins_of_one_step_do_not_compute_the_same_block_twice() -> None:
    """The second waits one step and then finds what the first one computed."""
    subject = engine(budget=64)
    subject.submit(request(A, prompt=14))
    subject.submit(request(B, prompt=14))
    first = schedule(subject)
    assert shape(first) == [(0, 14)]
    subject.apply(outcome(first))
    assert shape(schedule(subject)) == [(14, 1), (12, 2)]


def test_a_last_block_that_cannot_be_reused_is_not_waited_for() -> None:
    subject = engine(budget=64)
    subject.submit(request(A, prompt=4))
    subject.submit(request(B, prompt=4))
    assert shape(schedule(subject)) == [(0, 4), (0, 4)]


def test_strangers_of_one_step_run_together() -> None:
    subject = engine(budget=64)
    subject.submit(request(A, distinct(0, 14)))
    subject.submit(request(B, distinct(100, 14)))
    assert shape(schedule(subject)) == [(0, 14), (0, 14)]


def test_what_a_waiting_prompt_finds_in_the_cache_is_no_work_that_waits() -> None:
    subject = engine(budget=64, sequences=1)
    subject.submit(request(A, distinct(0, 9), tokens_max=1))
    list(run(subject))
    subject.submit(request(B, distinct(100, 5), tokens_max=9))
    step(subject)
    subject.submit(request(C, distinct(0, 14)))
    waiting = report(subject)
    assert waiting.sequences_waiting == 1
    assert waiting.prefill_tokens_waiting == 14 - 8
    assert waiting.blocks_waiting == 4  # the two it finds are evictable until it holds them


def test_a_waiting_prompt_takes_no_block_that_another_one_holds() -> None:
    subject = engine(budget=64, sequences=1)
    subject.submit(request(A, distinct(0, 9), tokens_max=9))
    step(subject)
    subject.submit(request(B, distinct(0, 14)))
    waiting = report(subject)
    assert waiting.prefill_tokens_waiting == 14 - 8
    assert waiting.blocks_waiting == 4 - 2


def test_the_head_of_those_waiting_is_looked_up_again_at_every_step() -> None:
    """It waits for memory; what was evicted meanwhile is work again."""
    subject = engine(blocks=7, budget=64)
    subject.submit(request(A, distinct(0, 9), tokens_max=1))
    list(run(subject))
    subject.submit(request(B, distinct(100, 12), tokens_max=12))
    step(subject)
    subject.submit(request(C, distinct(0, 14)))
    assert report(subject).prefill_tokens_waiting == 14 - 8
    most = 0
    while report(subject).sequences_waiting:
        most = max(most, report(subject).prefill_tokens_waiting)
        step(subject)
    assert most > 14 - 8


def test_a_preempted_sequence_waits_for_what_it_has_lost_only() -> None:
    subject = engine(blocks=5)
    subject.submit(request(A, distinct(0, 4), tokens_max=9))
    subject.submit(request(B, distinct(100, 7), tokens_max=6))
    while not report(subject).counters.preemptions:
        step(subject)
    waiting = report(subject)
    assert waiting.sequences_waiting == 1
    assert waiting.prefill_tokens_waiting < 7
