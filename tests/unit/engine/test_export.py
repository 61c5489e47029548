"""What leaves an engine: seen through handles, plans and deltas."""

from __future__ import annotations

import pytest

from protos.messages import SampledToken
from replicas.engine.engine import Engine
from replicas.engine.export import Export, ExportState
from replicas.engine.plan import StepOutcome
from tests.unit.engine.driver import A, B, engine, outcome, report, request, run, schedule, step


def exported(subject: Engine, choice: int = 0) -> Export:
    export = subject.export(A, choice)
    assert export is not None
    return export


def running(tokens_max: int = 20, choices: int = 1) -> Engine:
    """An engine that has said two tokens after a prompt of six."""
    subject = engine()
    subject.submit(request(A, prompt=6, tokens_max=tokens_max, choices=choices))
    step(subject)
    step(subject)
    return subject


def test_an_exported_sequence_goes_on_decoding() -> None:
    subject = running()
    export = exported(subject)
    assert (export.state, export.computed) == (ExportState.LIVE, 7)
    (delta,) = step(subject)
    assert (delta.first_index, export.computed) == (2, 8)
    assert export.request() == request(A, prompt=6, tokens_max=20, output=(7, 7, 7))
    assert len(export.blocks(0, 2)) == 2
    assert export.blocks(1, 1) == ()


@pytest.mark.parametrize("choice", [0, 1, 2])
def test_one_choice_of_several_is_exported_as_itself(choice: int) -> None:
    export = exported(running(choices=3), choice)
    resumed = export.request()
    assert (resumed.choices, resumed.first_choice, resumed.output) == (1, choice, (7, 7))


def test_no_second_handle_on_a_sequence_and_none_on_a_stranger() -> None:
    subject = running()
    first = exported(subject)
    assert subject.export(A, 0) is None
    assert subject.export(A, 1) is None
    assert subject.export(B, 0) is None
    first.abandon()
    assert first.state is ExportState.GONE
    assert exported(subject).state is ExportState.LIVE
    assert first.state is ExportState.GONE


def test_what_has_no_blocks_or_has_yet_to_fork_is_not_exported() -> None:
    subject = engine(budget=4, sequences=2)
    subject.submit(request(A, prompt=6, choices=2))
    assert subject.export(A, 0) is None
    step(subject)
    assert subject.export(A, 0) is None
    subject.submit(request(B, prompt=6))
    step(subject)
    assert subject.export(B, 0) is None
    assert subject.export(A, 1) is not None


def test_a_prompt_that_is_half_computed_is_exported() -> None:
    subject = engine(budget=4)
    subject.submit(request(A, prompt=6))
    step(subject)
    export = exported(subject)
    assert (export.computed, export.request().output) == (4, ())


def test_a_frozen_sequence_keeps_its_blocks_and_is_in_no_step() -> None:
    subject = running()
    subject.submit(request(B, prompt=(9,) * 5, tokens_max=2))
    export = exported(subject)
    export.freeze()
    used = report(subject).blocks_used
    assert [delta.request_id for delta in step(subject)] == [B]
    assert export.state is ExportState.FROZEN and export.computed == 7
    assert report(subject).blocks_used == used + 2
    assert report(subject).sequences_running == 2


def test_with_nothing_but_frozen_sequences_there_is_no_step_and_no_end() -> None:
    subject = running()
    export = exported(subject)
    export.freeze()
    assert subject.schedule() is None
    assert not subject.is_idle
    export.thaw()
    assert export.state is ExportState.LIVE
    (delta,) = step(subject)
    assert delta.first_index == 2


def test_a_sequence_is_frozen_between_steps_only() -> None:
    subject = running()
    export = exported(subject)
    plan = schedule(subject)
    with pytest.raises(AssertionError, match="while a step is computed"):
        export.freeze()
    subject.apply(outcome(plan))
    export.freeze()
    with pytest.raises(AssertionError, match="frozen"):
        export.freeze()


def test_a_completed_export_is_gone_without_a_word_and_leaves_its_prefix() -> None:
    subject = running()
    export = exported(subject)
    with pytest.raises(AssertionError, match="live"):
        export.complete()
    export.freeze()
    export.complete()
    assert export.state is ExportState.GONE
    assert subject.is_idle
    snapshot = report(subject)
    assert (snapshot.blocks_used, snapshot.blocks_cached) == (0, 1)
    assert snapshot.counters.sequences_exported == 1
    assert snapshot.counters.requests_finished == 0
    assert subject.submit(request(A)) is None


def test_its_siblings_stay_and_finish_the_request() -> None:
    subject = running(tokens_max=4, choices=2)
    export = exported(subject, 0)
    export.freeze()
    export.complete()
    assert {delta.choice for delta in run(subject)} == {1}
    assert report(subject).counters.requests_finished == 1


def test_a_finish_a_cancellation_and_a_withdrawal_end_the_export() -> None:
    finished = running(tokens_max=3)
    cancelled, withdrawn = running(), running()
    exports = [exported(subject) for subject in (finished, cancelled, withdrawn)]
    step(finished)
    cancelled.cancel(A)
    withdrawn.withdraw(A, 0)
    for export in exports:
        assert export.state is ExportState.GONE
        export.thaw()
        export.abandon()
        with pytest.raises(AssertionError, match="gone"):
            export.blocks(0, 0)


def test_a_frozen_sequence_can_be_cancelled() -> None:
    subject = running()
    export = exported(subject)
    export.freeze()
    assert subject.cancel(A)
    assert export.state is ExportState.GONE
    assert report(subject).blocks_used == 0


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_preemption_ends_the_export_for_ever(is_frozen: bool) -> None:
    subject = engine(blocks=4)
    subject.submit(request(B, prompt=(9,) * 4, tokens_max=9))
    subject.submit(request(A, prompt=7, tokens_max=6))
    step(subject)
    export = exported(subject)
    if is_frozen:
        export.freeze()
    while not report(subject).counters.preemptions:
        step(subject)
    assert export.state is ExportState.GONE
    assert subject.export(A, 0) is None
    finished = [delta.request_id for delta in run(subject) if delta.finish]
    assert finished == [B, A]
    assert export.state is ExportState.GONE


def test_an_abandoned_export_thaws() -> None:
    subject = running(tokens_max=4)
    export = exported(subject)
    export.freeze()
    export.abandon()
    assert [delta.first_index for delta in run(subject)] == [2, 3]


# ---- withdraw


def test_a_running_choice_is_withdrawn_alone() -> None:
    subject = running(tokens_max=4, choices=3)
    assert subject.withdraw(A, 1) == (1, 1)
    subject.check()
    assert subject.withdraw(A, 1) is None
    assert {delta.choice for delta in run(subject)} == {0, 2}


@pytest.mark.parametrize("choice", [4, 5])
@pytest.mark.parametrize("steps", [0, 1])
def test_choices_that_have_yet_to_fork_are_withdrawn_together(choice: int, steps: int) -> None:
    subject = engine(budget=4)
    subject.submit(request(A, prompt=6, choices=2, first_choice=4))
    for _ in range(steps):
        step(subject)
    assert subject.withdraw(A, 3) is None
    assert subject.withdraw(A, choice) == (4, 2)
    assert subject.is_idle
    assert report(subject).blocks_used == 0


def test_a_withdrawn_row_of_a_plan_in_flight_says_nothing() -> None:
    subject = engine()
    subject.submit(request(A))
    subject.submit(request(B, prompt=(9,)))
    schedule(subject)
    assert subject.withdraw(A, 0) == (0, 1)
    tokens = ((SampledToken(7),), (SampledToken(8),))
    assert [delta.request_id for delta in subject.apply(StepOutcome(tokens))] == [B]
    assert report(subject).counters.requests_finished == 0


# ---- what is told of sequences


def test_each_sequence_is_reported_with_what_it_holds_and_may_need() -> None:
    subject = engine(sequences=3, budget=8)
    subject.submit(request(A, prompt=6, tokens_max=9, choices=2))
    subject.submit(request(B, prompt=(9,) * 5, tokens_max=4, choices=2))
    step(subject)
    step(subject)
    first, second, waiting = subject.sequences()
    assert (first.sequence_id, second.sequence_id, waiting.sequence_id) == ("a/0", "a/1", "b/0")
    assert (first.request_id, first.choice, second.choice) == (A, 0, 1)
    assert (first.tokens, first.tokens_left_max) == (8, 7)
    assert (first.blocks, first.blocks_own) == (2, 1)
    assert (waiting.tokens, waiting.blocks, waiting.tokens_left_max) == (5, 0, 4)
    assert [each.is_waiting for each in (first, second, waiting)] == [False, False, True]
    assert [each.is_movable for each in (first, second, waiting)] == [True, True, False]
    exported(subject)
    assert not subject.sequences()[0].is_movable
