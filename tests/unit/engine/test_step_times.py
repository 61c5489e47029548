"""What the durations of steps say of a replica, and which of them say it."""

from __future__ import annotations

from replicas.engine.plan import StepPlan
from replicas.engine.step_times import StepTimes
from tests.unit.engine.driver import A, B, C, engine, outcome, report, request, schedule, step


def test_a_plan_says_how_much_of_it_is_prompt_and_whether_more_had_waited() -> None:
    subject = engine(budget=10)
    subject.submit(request(A, prompt=(1,) * 6))
    step(subject)
    subject.submit(request(B, prompt=(2,) * 14))
    plans: list[StepPlan] = []
    for _ in range(3):
        plans.append(schedule(subject))
        subject.apply(outcome(plans[-1]))
    assert [(plan.prefill_tokens, plan.prefill_context, plan.is_full) for plan in plans] == [
        (9, sum(range(9)), True),  # and a decode of A
        (5, sum(range(9, 14)), False),
        (0, 0, False),
    ]


def test_only_full_steps_with_prompts_tell_how_fast_prompts_are_computed() -> None:
    times = StepTimes()
    times.add(StepPlan((), (), prefill_tokens=100, is_full=True), 8_000)
    times.add(StepPlan((), (), prefill_tokens=3, is_full=False), 800)
    times.add(StepPlan((), (), prefill_tokens=0, is_full=True), 800)
    times.add(StepPlan((), (), prefill_tokens=60, prefill_context=600, is_full=True), 8_000)
    assert (times.full_ns, times.full_prefill_tokens) == (16_000, 160)
    assert times.full_prefill_context == 600


def test_the_mean_follows_the_newest_steps() -> None:
    times = StepTimes()
    times.add(StepPlan((), ()), 1_000)
    assert times.mean_ns == 1_000
    times.add(StepPlan((), ()), 9_000)
    assert times.mean_ns == 2_000
    for _ in range(40):
        times.add(StepPlan((), ()), 9_000)
    assert 8_900 < times.mean_ns <= 9_000


def test_a_report_carries_what_was_measured() -> None:
    times = StepTimes()
    times.add(StepPlan((), (), prefill_tokens=100, is_full=True), 8_000)
    snapshot = report(engine(), times)
    assert (snapshot.step_ns, snapshot.full_ns, snapshot.full_prefill_tokens) == (8_000, 8_000, 100)


def test_a_report_says_what_the_prompts_that_are_left_attend_to() -> None:
    """Of one that has begun, of one that waits, and less what is cached for another."""
    subject = engine(budget=8, sequences=1)
    subject.submit(request(A, prompt=(1,) * 20))
    step(subject)
    assert report(subject).prefill_tokens_waiting == 12
    assert report(subject).prefill_context_waiting == sum(range(8, 20))
    subject.submit(request(B, prompt=(2,) * 6))
    subject.submit(request(C, prompt=(1,) * 10))
    left = sum(range(8, 20)) + sum(range(6)) + sum(range(8, 10))
    assert report(subject).prefill_context_waiting == left


def test_several_steps_by_one_plan_count_as_so_many_of_their_mean() -> None:
    single, repeated = StepTimes(), StepTimes()
    for times in (single, repeated):
        times.add(StepPlan((), ()), 1_000)
    for _ in range(4):
        single.add(StepPlan((), ()), 9_000)
    repeated.add(StepPlan((), ()), 36_000, 4)
    assert repeated.mean_ns == single.mean_ns
