"""What a better class gets of a step that others fill, and what is reported of the others."""

from __future__ import annotations

from protos.messages import RequestClass
from replicas.engine.engine import Engine
from tests.unit.engine.driver import (
    A,
    B,
    C,
    engine,
    outcome,
    report,
    request,
    schedule,
    step,
)

AGENT, BATCH = RequestClass.AGENT, RequestClass.BATCH


def prefills(subject: Engine) -> list[int]:
    """Prompt tokens of each step, until nothing is left."""
    tokens = []
    while not subject.is_idle:
        plan = schedule(subject)
        subject.apply(outcome(plan))
        tokens.append(plan.prefill_tokens)
    return tokens


def test_a_long_prompt_of_a_worse_class_holds_up_a_better_one_for_no_step() -> None:
    """Power: with all prefills before all admissions, the newcomer waits for five steps."""
    subject = engine(budget=8)
    subject.submit(request(A, prompt=40, request_class=AGENT))
    step(subject)
    subject.submit(request(B, prompt=(900, 901, 902, 903, 904)))
    rows = [(row.start, len(row.tokens)) for row in schedule(subject).rows]
    assert rows == [(0, 5), (8, 3)]


def test_inside_a_class_what_is_begun_goes_on_before_who_comes() -> None:
    subject = engine(budget=8)
    subject.submit(request(A, prompt=40, request_class=AGENT))
    step(subject)
    subject.submit(request(B, prompt=(900, 901, 902), request_class=AGENT))
    assert [(row.start, len(row.tokens)) for row in schedule(subject).rows] == [(8, 8)]


def test_blocks_of_worse_classes_held_or_awaited_are_reported_as_yielding() -> None:
    """Blocks of 4: 3 held by an agent, 2 by a chat; 5 awaited by an agent without a place."""
    subject = engine(sequences=2)
    subject.submit(request(B, prompt=(900, 901, 902, 903, 904)))
    subject.submit(request(A, prompt=12, request_class=AGENT))
    step(subject)
    subject.submit(request(C, prompt=tuple(range(500, 520)), request_class=AGENT))
    assert report(subject).blocks_yielding == 3 + 5


def test_beside_somebody_interactive_the_prompts_of_others_share_a_few_tokens_of_a_step() -> None:
    subject = engine(budget=32, yielding=6)
    subject.submit(request(A, prompt=(900, 901, 902, 903), tokens_max=9))
    subject.submit(request(B, prompt=8, tokens_max=1, request_class=AGENT))
    subject.submit(request(C, prompt=tuple(range(500, 509)), tokens_max=1, request_class=BATCH))
    plan = schedule(subject)
    assert [(row.start, len(row.tokens)) for row in plan.rows] == [(0, 4), (0, 6)]
    assert plan.is_full  # more was there to compute
    subject.apply(outcome(plan))
    assert [len(row.tokens) for row in schedule(subject).rows] == [1, 2, 4]


def test_agents_that_decode_take_nothing_of_what_prompts_share() -> None:
    subject = engine(budget=32, yielding=6)
    subject.submit(request(A, prompt=(900, 901), tokens_max=9, request_class=AGENT))
    step(subject)
    subject.submit(request(B, prompt=(800, 801), tokens_max=9))
    subject.submit(request(C, prompt=12, request_class=AGENT))
    assert [len(row.tokens) for row in schedule(subject).rows] == [1, 2, 6]


def test_prompts_of_the_interactive_class_have_the_whole_step() -> None:
    subject = engine(budget=32, yielding=6)
    subject.submit(request(A, prompt=20, tokens_max=1))
    assert prefills(subject) == [20]


def test_agents_alone_have_every_step_to_themselves() -> None:
    """Power: were the bound on their prompts always there, each would take four steps."""
    steps = []
    for yielding in (6, 1000):
        subject = engine(budget=24, yielding=yielding)
        for request_id, first in ((A, 0), (B, 300), (C, 600)):
            prompt = tuple(range(first, first + 24))
            subject.submit(request(request_id, prompt, tokens_max=3, request_class=AGENT))
        steps.append(prefills(subject))
    assert steps[0] == steps[1]


def test_the_whole_step_is_lent_when_nobody_interactive_was_here_for_long() -> None:
    subject = engine(budget=32, yielding=6, headroom_steps=2)
    subject.submit(request(A, prompt=(900, 901), tokens_max=1))
    subject.submit(request(B, prompt=40, tokens_max=1, request_class=AGENT))
    assert prefills(subject) == [2 + 6, 6, 28]
