"""Guesses change how many steps a text takes, and nothing else that anybody can see.

What a sequence says is scripted: the token at each place of its output is known,
so it is chosen whatever was guessed, as a sampler does that depends on seed and
position alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle, islice

import pytest

from protos.messages import Delta, FinishReason, RequestClass, RequestId, SampledToken
from replicas.engine.acceptance import accepted, samples_along
from replicas.engine.engine import Engine
from replicas.engine.plan import Row, Sample, StepOutcome, StepPlan
from tests.unit.engine.driver import A, B, C, engine, report, request, run, schedule

ROOMY = 16
Scripts = Mapping[int, tuple[int, ...]]  # what is said, by the first token of the prompt

PROMPT = (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3)
SAYS = (4, 5, 6, 7, 9, 9, 9, 9, 9, 9)


def scripted(plan: StepPlan, scripts: Scripts) -> StepOutcome:
    """The next tokens of every script, as far as they were guessed."""

    def token(sample: Sample) -> SampledToken:
        script = scripts[sample.prompt[0]]
        return SampledToken(script[(len(sample.output) + sample.seed) % len(script)])

    def of_row(row: Row) -> tuple[SampledToken, ...]:
        if not row.guesses:
            return tuple(map(token, row.samples))
        return accepted(row, (token(sample) for (sample,) in samples_along(row)))

    return StepOutcome(tuple(map(of_row, plan.rows)))


def say(subject: Engine, scripts: Scripts) -> tuple[Delta, ...]:
    """One step."""
    deltas = subject.apply(scripted(schedule(subject), scripts))
    subject.check()
    return deltas


def guessed(plan: StepPlan) -> list[tuple[int, ...]]:
    return [row.guessed for row in plan.rows]


def quoting(guesses: int = 4, **bounds: int) -> Engine:
    """An engine with a sequence that has begun to repeat its prompt."""
    subject = engine(block_size=ROOMY, guesses=guesses, **bounds)
    subject.submit(request(A, PROMPT, tokens_max=10))
    say(subject, {1: SAYS})
    return subject


def test_a_decode_feeds_what_followed_before() -> None:
    (row,) = schedule(quoting()).rows
    assert (row.start, row.tokens, row.guesses) == (11, (4, 5, 6, 7, 8), 4)
    assert len(row.samples) == 1


def test_right_guesses_are_said_at_once_and_a_wrong_one_never_was() -> None:
    subject = quoting()
    (delta,) = say(subject, {1: SAYS})
    assert [each.token for each in delta.tokens] == [5, 6, 7, 9]
    assert (delta.first_index, delta.finish) == (1, None)
    (row,) = schedule(subject).rows
    assert (row.start, row.tokens) == (15, (9,)), "in the slot of the wrong guess"
    counters = report(subject).counters
    assert (counters.guessed_tokens, counters.accepted_tokens) == (4, 3)
    assert (counters.prefill_tokens, counters.decode_tokens, counters.steps) == (11, 4, 2)


def test_an_engine_that_is_not_told_so_guesses_nothing() -> None:
    assert guessed(schedule(quoting(guesses=0))) == [()]


def test_it_guesses_no_more_than_it_is_told() -> None:
    assert guessed(schedule(quoting(guesses=2))) == [(5, 6)]


def test_while_a_person_waits_guesses_lengthen_a_step_no_more_than_prompts_may() -> None:
    assert guessed(schedule(quoting(yielding=2))) == [(5, 6)]
    alone = engine(block_size=ROOMY, guesses=4, yielding=2)
    alone.submit(request(A, PROMPT, tokens_max=10, request_class=RequestClass.BATCH))
    say(alone, {1: SAYS})
    assert guessed(schedule(alone)) == [(5, 6, 7, 8)]


def test_a_guess_takes_no_block() -> None:
    subject = engine(block_size=4, guesses=4)
    subject.submit(request(A, PROMPT, tokens_max=10))
    say(subject, {1: SAYS})  # 11 of 12 slots are computed: the last one is for the 4
    assert guessed(schedule(subject)) == [()]
    subject.apply(scripted_in_flight(subject))
    assert guessed(schedule(subject)) == [(6, 7, 8)], "a new block has room for them"


def scripted_in_flight(subject: Engine, scripts: Scripts | None = None) -> StepOutcome:
    assert subject._in_flight is not None
    return scripted(subject._in_flight.plan, scripts or {1: SAYS})


def test_nothing_is_guessed_beyond_the_last_token() -> None:
    subject = engine(block_size=ROOMY, guesses=4)
    subject.submit(request(A, PROMPT, tokens_max=4))
    say(subject, {1: SAYS})
    assert guessed(schedule(subject)) == [(5, 6)], "and one more is said behind them"
    (delta,) = subject.apply(scripted_in_flight(subject))
    assert [each.token for each in delta.tokens] == [5, 6, 7]
    assert delta.finish is FinishReason.LENGTH


@pytest.mark.parametrize(
    ("stop", "tokens_min", "said"),
    [(5, 0, (5,)), (6, 0, (5, 6)), (9, 0, (5, 6, 7, 9)), (5, 2, (5, 6, 7, 9)), (6, 2, (5, 6))],
)
def test_a_stop_ends_an_answer_in_the_middle_of_what_was_guessed(
    stop: int, tokens_min: int, said: tuple[int, ...]
) -> None:
    subject = engine(block_size=ROOMY, guesses=4)
    subject.submit(request(A, PROMPT, tokens_max=10, stop=(stop,), tokens_min=tokens_min))
    say(subject, {1: SAYS})
    (delta,) = say(subject, {1: SAYS})
    assert tuple(each.token for each in delta.tokens) == said
    assert (delta.finish is FinishReason.STOP) == (said[-1] == stop)
    counters = report(subject).counters
    assert (counters.decode_tokens, counters.accepted_tokens) == (len(said), len(said) - 1)
    assert subject.is_idle == (delta.finish is not None)


def test_what_was_right_fills_blocks_that_others_find() -> None:
    subject = engine(block_size=8, guesses=7)
    subject.submit(request(A, (*PROMPT, 4, 5, 6, 7, 8), tokens_max=40))
    text = tuple(islice(cycle((1, 2, 3, 4, 5, 6, 7, 8)), 40))
    while report(subject).counters.decode_tokens < 16:
        say(subject, {1: text})
    assert report(subject).counters.accepted_tokens > 8
    subject.submit(request(B, (*PROMPT, 4, 5, 6, 7, 8, *text[:16], 99)))
    deltas = say(subject, {1: text})
    assert {each.hit_tokens for each in deltas if each.request_id == B} == {32}


def test_decodes_and_prompts_come_before_guesses() -> None:
    scripts = {1: SAYS, 11: (1, 1, 1)}
    subject = quoting(budget=16)
    subject.submit(request(B, tuple(range(11, 22)), tokens_max=3))
    plan = schedule(subject)
    assert guessed(plan) == [(5, 6, 7, 8), ()], "4 of the budget were left"
    assert not plan.is_full
    subject.apply(scripted(plan, scripts))

    subject = quoting(budget=14)
    subject.submit(request(B, tuple(range(11, 22)), tokens_max=3))
    assert guessed(schedule(subject)) == [(5, 6), ()]
    subject.apply(scripted_in_flight(subject, scripts))

    subject = quoting(budget=11)
    subject.submit(request(B, tuple(range(11, 22)), tokens_max=3))
    plan = schedule(subject)
    assert [len(row.tokens) for row in plan.rows] == [1, 10]
    assert guessed(plan) == [(), ()]
    assert plan.is_full


def test_the_first_in_the_line_guess_first() -> None:
    for budget, guesses in ((16, [4, 4]), (7, [4, 1]), (5, [3, 0])):
        subject = engine(block_size=ROOMY, guesses=4)
        for name, first in ((A, 1), (B, 21)):
            subject.submit(request(name, (first, 2, 3, 4, 5, 2, 3), tokens_max=9))
        say(subject, {1: (4, 5), 21: (4, 5)})
        subject._scheduler._config = replace(subject.config, step_tokens_max=budget)
        assert [row.guesses for row in schedule(subject).rows] == guesses


def test_choices_guess_for_themselves_in_blocks_of_their_own() -> None:
    subject = engine(block_size=ROOMY, guesses=4)
    subject.submit(request(A, PROMPT, tokens_max=10, choices=2))
    assert guessed(schedule(subject)) == [()], "a prompt guesses nothing"
    subject.apply(scripted_in_flight(subject))  # the first says 4 and the second 5
    plan = schedule(subject)
    assert [row.tokens for row in plan.rows] == [(4, 5, 6, 7, 8), (5,)]
    assert len(plan.copies) == 1
    subject.check()


def test_a_cancelled_sequence_says_nothing_of_what_it_guessed() -> None:
    subject = quoting()
    plan = schedule(subject)
    subject.cancel(A)
    subject.check()
    assert subject.apply(scripted(plan, {1: SAYS})) == ()
    counters = report(subject).counters
    assert (counters.guessed_tokens, counters.accepted_tokens) == (0, 0)
    assert report(subject).blocks_used == 0


def test_a_sequence_with_a_grammar_guesses_nothing() -> None:
    subject = engine(block_size=ROOMY, guesses=4)
    subject = Engine(replace(subject.config, takes_grammars=True))
    asked = request(A, PROMPT, tokens_max=10)
    subject.submit(replace(asked, sampling=replace(asked.sampling, grammar="start: /a+/")))
    say(subject, {1: SAYS})
    assert guessed(schedule(subject)) == [()]


def test_a_plan_with_guesses_is_good_for_one_step() -> None:
    subject = quoting(steps=5)
    plan = schedule(subject)
    assert (plan.rows[0].guesses, plan.steps_max) == (4, 1)
    subject.apply(scripted(plan, {1: SAYS}))
    plan = schedule(subject)
    assert (plan.rows[0].guesses, plan.steps_max) == (0, 1), "its block's last slot"
    subject.apply(scripted(plan, {1: SAYS}))
    plan = schedule(subject)
    assert (plan.rows[0].guesses, plan.steps_max) == (0, 4), "until its last token"


def test_who_was_preempted_guesses_on_from_where_it_was() -> None:
    """Blocks of 4, five of them: the older one's growth takes the younger one's."""
    subject = engine(5, guesses=3)
    scripts = {1: (7, 8, 1, 2, 3, 7, 8, 1, 2, 3), 11: (14, 15, 11, 12, 13, 14, 15, 11, 12)}
    subject.submit(request(A, (1, 2, 3, 7, 8, 1, 2, 3), tokens_max=10))
    subject.submit(request(B, (11, 12, 13, 14, 15, 11, 12, 13), tokens_max=9))
    said: dict[RequestId, list[int]] = {A: [], B: []}
    while not subject.is_idle:
        for delta in say(subject, scripts):
            assert delta.first_index == len(said[delta.request_id])
            said[delta.request_id].extend(each.token for each in delta.tokens)
    assert said == {A: list(scripts[1]), B: list(scripts[11])}
    counters = report(subject).counters
    assert counters.preemptions > 0
    assert counters.accepted_tokens > 5


@pytest.mark.parametrize(
    "made",
    [
        lambda plan: StepOutcome(((),)),
        lambda plan: StepOutcome(((SampledToken(7), SampledToken(9)),)),
        lambda plan: StepOutcome((tuple(map(SampledToken, (*plan.rows[0].guessed, 1, 2))),)),
    ],
    ids=["nothing", "beyond a wrong guess", "more than was guessed"],
)
def test_an_outcome_that_cannot_be_is_refused(made: Callable[[StepPlan], StepOutcome]) -> None:
    subject = quoting()
    plan = schedule(subject)
    with pytest.raises(AssertionError, match="one token for each sample"):
        subject.apply(made(plan))


def all_said(guesses: int, seed: int, blocks: int) -> tuple[dict[RequestId, list[Delta]], Engine]:
    """Everything that three requests are told, who say what they said before, now and then."""
    rng = random.Random(seed)
    subject = engine(blocks, guesses=guesses, budget=rng.choice((5, 16, 64)))
    scripts = {}
    told: dict[RequestId, list[Delta]] = {}
    for name, first in ((A, 100), (B, 200), (C, 300)):
        phrase = tuple(first + rng.randrange(6) for _ in range(rng.randint(3, 9)))
        scripts[first] = (*phrase, *phrase, first + 50, *phrase, *phrase[:2], first + 51)
        prompt = (first, *phrase, *phrase[: rng.randrange(9)])
        stop = rng.choice(((), (first + 50,), (phrase[1],)))
        told[name] = []
        subject.submit(
            request(name, prompt, tokens_max=30, tokens_min=rng.choice((0, 12)), stop=stop)
        )
    while not subject.is_idle:
        for delta in say(subject, scripts):
            told[delta.request_id].append(delta)
    return told, subject


@pytest.mark.parametrize("blocks", [13, 40])
def test_everybody_is_told_the_same_in_fewer_steps(blocks: int) -> None:
    steps = {0: 0, 3: 0}
    preemptions = 0
    for seed in range(40):
        tokens = {}
        for guesses in steps:
            told, subject = all_said(guesses, seed, blocks)
            tokens[guesses] = {
                name: (
                    [each.token for delta in deltas for each in delta.tokens],
                    deltas[-1].finish,
                    [delta.finish for delta in deltas[:-1] if delta.finish],
                )
                for name, deltas in told.items()
            }
            steps[guesses] += report(subject).counters.steps
            preemptions += report(subject).counters.preemptions
            assert report(subject).blocks_used == 0
        assert tokens[3] == tokens[0], f"seed {seed}"
    assert steps[3] < 0.8 * steps[0]
    assert (preemptions > 0) == (blocks == 13)


def test_a_driver_that_always_says_the_same_is_foretold() -> None:
    subject = engine(block_size=ROOMY, guesses=7)
    subject.submit(request(A, (7, 7, 7, 7), tokens_max=24))
    deltas = list(run(subject))
    assert sum(len(delta.tokens) for delta in deltas) == 24
    assert len(deltas) < 8
