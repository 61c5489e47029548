from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from protos.hashing import block_hashes
from protos.messages import (
    BlockRemoved,
    BlockStored,
    FinishReason,
    RefusalReason,
    RequestId,
    SampledToken,
)
from replicas.engine.engine import Engine
from replicas.engine.plan import BlockId, StepOutcome
from replicas.engine.sequence import SequenceState
from tests.unit.engine.driver import (
    A,
    B,
    C,
    card,
    engine,
    outcome,
    report,
    request,
    run,
    schedule,
    step,
)


def test_a_request_is_told_token_by_token_and_finished_once() -> None:
    subject = engine()
    assert subject.submit(request(tokens_max=3)) is None
    deltas = list(run(subject))
    assert [(delta.first_index, len(delta.tokens)) for delta in deltas] == [(0, 1), (1, 1), (2, 1)]
    assert [delta.finish for delta in deltas] == [None, None, FinishReason.LENGTH]
    assert subject.is_idle
    assert subject.schedule() is None


def test_the_stop_token_is_delivered_with_the_finish() -> None:
    subject = engine()
    subject.submit(request(tokens_max=9, stop=(7,), tokens_min=1))
    first, second = run(subject)
    assert first.finish is None  # the same token, before tokens_min
    assert second.finish is FinishReason.STOP
    assert second.tokens == (SampledToken(7),)


def test_a_completion_ends_with_the_context() -> None:
    subject = engine(context=8)
    subject.submit(request(prompt=6, tokens_max=100))
    assert [delta.finish for delta in run(subject)] == [None, FinishReason.LENGTH]


def test_what_a_token_came_with_reaches_the_client() -> None:
    subject = engine()
    subject.submit(request(tokens_max=1))
    schedule(subject)
    token = SampledToken(7, logprob=-0.5, top=((7, -0.5), (8, -1.5)))
    (delta,) = subject.apply(StepOutcome(((token,),)))
    assert delta.tokens == (token,)


def test_each_choice_ends_for_itself_and_the_request_with_the_last() -> None:
    subject = engine()
    subject.submit(request(prompt=6, choices=2, tokens_max=2, stop=(5,)))
    schedule(subject)
    deltas = subject.apply(StepOutcome(((SampledToken(5), SampledToken(7)),)))
    assert [(delta.choice, delta.finish) for delta in deltas] == [(0, FinishReason.STOP), (1, None)]
    assert report(subject).counters.requests_finished == 0
    (last,) = step(subject)
    assert (last.choice, last.first_index, last.finish) == (1, 1, FinishReason.LENGTH)
    assert report(subject).counters.requests_finished == 1


def test_the_second_of_two_long_twins_finds_all_but_its_last_half_block() -> None:
    subject = engine(blocks=128, block_size=16, budget=256, context=1024)
    prompt = tuple(range(600))
    subject.submit(request(A, prompt))
    assert {delta.hit_tokens for delta in run(subject)} == {0}
    subject.submit(request(B, prompt))
    assert {delta.hit_tokens for delta in run(subject)} == {37 * 16}
    counters = report(subject).counters
    assert counters.prompt_tokens == 1200
    assert counters.hit_tokens == 592
    assert counters.prefill_tokens == 1200 - 592


def test_all_choices_of_a_request_report_the_hits_of_their_prompt() -> None:
    subject = engine()
    subject.submit(request(A, prompt=9))
    list(run(subject))
    subject.submit(request(B, prompt=9, choices=2))
    assert [delta.hit_tokens for delta in run(subject)] == [8] * 8
    assert report(subject).counters.hit_tokens == 8


def test_the_next_turn_finds_the_last_answer() -> None:
    subject = engine()
    subject.submit(request(A, prompt=6, tokens_max=7))
    list(run(subject))
    # 13 tokens were said; the KV of the last was never computed: 3 full blocks.
    subject.submit(request(B, prompt=(*range(6), *[7] * 7, 1, 2), tokens_max=1))
    (delta,) = run(subject)
    assert delta.hit_tokens == 12


def test_a_last_token_that_was_never_fed_completes_no_block() -> None:
    subject = engine()
    subject.submit(request(prompt=6, tokens_max=2))
    list(run(subject))
    assert len(subject.inventory()) == 1  # 8 tokens known, 7 computed


def test_another_salt_finds_nothing() -> None:
    subject = engine()
    subject.submit(request(A, prompt=9, salt=b"one"))
    list(run(subject))
    subject.submit(request(B, prompt=9, salt=b"two"))
    assert {delta.hit_tokens for delta in run(subject)} == {0}


def test_a_block_is_announced_once_it_is_computed_not_before() -> None:
    subject = engine()
    subject.submit(request(prompt=9, tokens_max=1))
    names = block_hashes(tuple(range(9)), block_size=4, root=card().scope())
    plan = schedule(subject)
    assert subject.block_events() == () == subject.inventory()
    subject.apply(outcome(plan))
    assert subject.block_events() == tuple(BlockStored(name) for name in names)
    assert subject.block_events() == ()
    assert subject.inventory() == names


def test_an_eviction_is_announced_before_what_replaces_it() -> None:
    subject = engine(blocks=1)
    subject.submit(request(A, prompt=(1, 2, 3, 4), tokens_max=1))
    subject.submit(request(B, prompt=(5, 6, 7, 8), tokens_max=1))
    list(run(subject))
    kinds = [type(event) for event in subject.block_events()]
    assert kinds == [BlockStored, BlockRemoved, BlockStored]
    assert len(subject.inventory()) == 1


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("is_mid_step", [False, True])
def test_a_cancelled_request_is_gone_at_once(choices: int, steps: int, is_mid_step: bool) -> None:
    subject = engine(budget=4)
    subject.submit(request(prompt=6, choices=choices))
    for _ in range(steps):
        step(subject)
    plan = schedule(subject) if is_mid_step else None
    assert subject.cancel(A)
    subject.check()
    assert report(subject).blocks_used == 0
    assert not subject.cancel(A)
    if plan is not None:
        assert not subject.is_idle  # its outcome must still be applied
        assert subject.apply(outcome(plan)) == ()
    assert subject.is_idle
    assert report(subject).counters.requests_finished == 0


def test_an_outcome_of_a_cancelled_request_is_not_taken_for_its_successor() -> None:
    subject = engine()
    subject.submit(request(A, prompt=6))
    plan = schedule(subject)
    subject.cancel(A)
    subject.submit(request(A, prompt=9))
    assert subject.apply(outcome(plan)) == ()
    assert subject.inventory() == ()
    deltas = list(run(subject))
    assert [delta.first_index for delta in deltas] == [0, 1, 2, 3]


def test_blocks_of_a_cancelled_row_are_not_findable() -> None:
    subject = engine()
    subject.submit(request(prompt=9))
    plan = schedule(subject)
    subject.cancel(A)
    subject.apply(outcome(plan))
    assert subject.inventory() == ()


def test_cancelling_a_stranger_says_so() -> None:
    assert not engine().cancel(A)


def test_a_duplicate_is_refused_while_the_first_lives() -> None:
    subject = engine()
    subject.submit(request(A, tokens_max=1))
    refused = subject.submit(request(A))
    assert refused is not None and refused.reason is RefusalReason.INVALID
    list(run(subject))
    assert subject.submit(request(A)) is None


def test_a_full_queue_refuses_and_takes_again_when_it_moves() -> None:
    subject = engine(waiting=2)
    assert subject.submit(request(A)) is None
    assert subject.submit(request(B)) is None
    refused = subject.submit(request(C))
    assert refused is not None and refused.reason is RefusalReason.QUEUE_FULL
    step(subject)
    assert subject.submit(request(C)) is None


def test_a_draining_engine_finishes_what_it_has_and_takes_nothing() -> None:
    subject = engine()
    subject.submit(request(A))
    subject.drain()
    assert subject.draining and report(subject).draining
    refused = subject.submit(request(B))
    assert refused is not None and refused.reason is RefusalReason.DRAINING
    assert {delta.request_id for delta in run(subject)} == {A}


def test_a_request_that_can_never_fit_is_refused_not_queued() -> None:
    subject = engine(blocks=2)
    refused = subject.submit(request(prompt=6, tokens_max=9))
    assert refused is not None and refused.reason is RefusalReason.NEVER_FITS
    assert subject.is_idle


def test_a_tiny_pool_serves_many_requests_to_their_end() -> None:
    subject = engine(blocks=12, sequences=6, waiting=100, budget=16)
    for number in range(60):
        prompt = (number % 5, *range(number % 13))
        asked = request(RequestId(f"r{number}"), prompt, tokens_max=1 + number % 17)
        asked = replace(asked, choices=1 + (number % 7 == 0))
        assert subject.submit(asked) is None
    told: dict[tuple[RequestId, int], int] = {}
    for delta in run(subject):
        assert delta.first_index == told.get((delta.request_id, delta.choice), 0)
        told[delta.request_id, delta.choice] = delta.first_index + 1
    assert len(told) == 60 + 9
    snapshot = report(subject)
    assert snapshot.blocks_free + snapshot.blocks_cached == 12
    assert snapshot.counters.requests_finished == 60
    assert snapshot.counters.preemptions > 0


def test_a_snapshot_counts_work_that_waits_and_blocks_that_are_held() -> None:
    subject = engine(blocks=8, budget=10)
    subject.submit(request(A, prompt=(1,) * 6))
    step(subject)
    subject.submit(request(B, prompt=(2,) * 14))
    subject.submit(request(C, prompt=(3,) * 5))
    step(subject)
    snapshot = report(subject)
    assert (snapshot.replica_id, snapshot.epoch, snapshot.number) == ("r", 3, 1)
    assert (snapshot.sequences_running, snapshot.sequences_waiting) == (2, 1)
    assert snapshot.prefill_tokens_waiting == (14 - 9) + 5
    assert snapshot.blocks_waiting == 2
    assert (snapshot.blocks_free, snapshot.blocks_cached, snapshot.blocks_used) == (2, 0, 6)
    assert snapshot.blocks_available == 2
    assert snapshot.counters.steps == 2
    assert snapshot.counters.prefill_tokens == 6 + 9
    assert snapshot.counters.decode_tokens == 1


def test_the_same_calls_give_the_same_plans() -> None:
    def plans() -> list[object]:
        subject = engine(blocks=9, budget=8)
        for number, name in enumerate((A, B, C)):
            subject.submit(request(name, (number, *range(7)), tokens_max=9, choices=2))
        seen: list[object] = []
        while not subject.is_idle:
            plan = schedule(subject)
            seen.append(repr(plan))
            subject.apply(outcome(plan))
        return seen

    assert plans() == plans()


def test_one_plan_is_in_flight_at_a_time() -> None:
    subject = engine()
    subject.submit(request())
    schedule(subject)
    with pytest.raises(AssertionError, match="has not been applied"):
        subject.schedule()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (StepOutcome(()), "another plan"),
        (StepOutcome(((),)), "one token for each sample"),
        (StepOutcome(((SampledToken(1), SampledToken(1)),)), "one token for each sample"),
        (StepOutcome(((SampledToken(1000),),)), "sampled token 1000"),
    ],
)
def test_an_outcome_that_does_not_match_is_a_bug(bad: StepOutcome, message: str) -> None:
    subject = engine()
    subject.submit(request())
    schedule(subject)
    with pytest.raises(AssertionError, match=message):
        subject.apply(bad)


def test_an_outcome_needs_a_plan() -> None:
    with pytest.raises(AssertionError, match="without a plan"):
        engine().apply(StepOutcome(()))


def spoil_line(subject: Engine) -> None:
    subject._scheduler.running.reverse()


def spoil_state(subject: Engine) -> None:
    subject._scheduler.running[0].state = SequenceState.WAITING


def spoil_progress(subject: Engine) -> None:
    subject._scheduler.running[0].computed += 1


def spoil_table(subject: Engine) -> None:
    subject._scheduler.running[0].block_table.append(BlockId(20))


def spoil_tokens(subject: Engine) -> None:
    running = subject._scheduler.running[0]
    running.request = replace(running.request, prompt=(9,) * 6)


def spoil_names(subject: Engine) -> None:
    subject._scheduler.running[0].named = 0


def spoil_live(subject: Engine) -> None:
    del subject._live[A]


def spoil_write(subject: Engine) -> None:
    plan = subject.schedule()
    assert plan is not None
    tail = subject._scheduler.running[0].block_table[-1]
    subject._scheduler.running[1].block_table[-1] = tail
    subject._pool.share(tail)


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_line,
        spoil_state,
        spoil_progress,
        spoil_table,
        spoil_tokens,
        spoil_names,
        spoil_live,
        spoil_write,
    ],
)
def test_check_notices(spoil: Callable[[Engine], None]) -> None:
    subject = engine()
    subject.submit(request(A, prompt=(1,) * 6))
    subject.submit(request(B, prompt=(2,) * 6))
    step(subject)
    spoil(subject)
    with pytest.raises(AssertionError):
        subject.check()


# ---- a choice that began elsewhere


def test_a_resumed_choice_goes_on_with_the_next_index_and_counts_what_it_had() -> None:
    subject = engine()
    subject.submit(request(tokens_max=5, tokens_min=4, stop=(7,), output=(7, 8), first_choice=2))
    deltas = list(run(subject))
    assert [(delta.choice, delta.first_index, delta.finish) for delta in deltas] == [
        (2, 2, None),
        (2, 3, None),
        (2, 4, FinishReason.STOP),
    ]


def test_a_resumed_choice_is_sampled_as_it_would_have_been() -> None:
    whole, rest = engine(), engine()
    whole.submit(request(choices=3, seed=10))
    rest.submit(request(seed=10, output=(7,), first_choice=2))
    step(whole)
    (*_, undisturbed), (resumed,) = schedule(whole).rows, schedule(rest).rows
    assert resumed.samples == undisturbed.samples
    assert resumed.samples[0].seed == 12


def test_a_resumed_choice_finds_its_output_too_but_computes_the_last_token() -> None:
    subject = engine()
    subject.submit(request(prompt=6, tokens_max=8))
    output = tuple(delta.tokens[0].token for delta in run(subject))[:6]
    subject.submit(request(B, prompt=6, tokens_max=8, output=output))
    (row,) = schedule(subject).rows
    assert (row.start, len(row.tokens)) == (8, 4)
