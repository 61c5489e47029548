"""Each sentence that a verdict can say, and what it must not say anything about."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.chaos.compare import Difference
from orchestrator.chaos.demand import Due
from orchestrator.chaos.refusals import REFUSALS
from orchestrator.chaos.rules import breaches, wrong_streams
from orchestrator.chaos.world import Observed
from orchestrator.workload.heard import End, Heard
from tests.unit.chaos.made_up import WORDS, due, heard, observed, refused

DEADLINE_S = 10.0


def said_of(record: Heard, **behaviour: Any) -> str:
    """What is wrong with one request that was due with this behaviour."""
    dues = (due(1, **behaviour),)
    return "\n".join(breaches(dues, observed([record]), deadline_s=DEADLINE_S))


def said(dues: tuple[Due, ...], world: Observed) -> list[str]:
    """All that is wrong."""
    return list(breaches(dues, world, deadline_s=DEADLINE_S))


def test_an_answer_as_it_should_be_breaks_nothing() -> None:
    assert said_of(heard(1)) == ""


@pytest.mark.parametrize(
    ("record", "behaviour"),
    [
        (refused(1), {}),
        (heard(1, end=End.LEFT, said=(WORDS[:3],)), {"leaves_after_s": 0.2}),
        (heard(1, end=End.LEFT, said=()), {"leaves_after_s": 0.2}),
        (heard(1), {"leaves_after_s": 5.0}),  # it was over before
        (refused(1, code="poison_request", status=422), {"is_poison": True}),
        (
            heard(1, end=End.BROKEN, code="poison_request", said=(WORDS[:3],)),
            {"is_poison": True},
        ),
        (refused(1, code="replica_lost", status=502), {"is_poison": True}),
    ],
)
def test_these_ends_are_as_they_may_be(record: Heard, behaviour: dict[str, Any]) -> None:
    assert said_of(record, **behaviour) == ""


@pytest.mark.parametrize(
    ("record", "behaviour", "sentence"),
    [
        (heard(1, end=End.UNANSWERED), {}, "got neither an answer nor a reason in 10 s"),
        (heard(1, end=End.UNANSWERED, code="late"), {}, "nor a reason in 10 s: late"),
        (
            heard(1, end=End.BROKEN, code="replica_lost", tokens=4, said=(WORDS[:4],)),
            {},
            "was broken off after 4 tokens: replica_lost",
        ),
        (heard(1, end=End.BROKEN, said=(WORDS[:4],)), {}, "an end that is none"),
        (refused(1, code=""), {}, "was refused without a reason"),
        (
            refused(1, code="internal_error", status=500),
            {},
            "was refused with 'internal_error' and HTTP 500: that is a failure, no refusal",
        ),
        (refused(1, code="queue_full", status=500), {}, "'queue_full' and HTTP 500: that is"),
        (refused(1, code="invalid_json", status=400), {}, "that is a failure"),
        (refused(1, code="internal_error", status=500), {"is_poison": True}, "that is a failure"),
        (heard(1, end=End.LEFT), {}, "is said to have left, and did not mean to"),
        (heard(1), {"is_poison": True}, "is one that replicas die of, and was answered"),
        (heard(1, ended_s=16.0), {}, "ended after 16.0 s, beyond its deadline of 10 s"),
        (refused(1, code="poison_request"), {}, "was refused as poison, and is none"),
        (refused(1, code="stream_broken"), {}, "was given tokens that do not add up"),
        (heard(1, said=(WORDS[:-2],)), {}, "lost, 19 characters where 21 are right"),
        (heard(1, said=(WORDS + "ys",)), {}, "duplicated, 23 characters where 21"),
        (heard(1, said=("what tha" + WORDS[8:],)), {}, "altered, 21 characters"),
        (heard(1, said=("what tha" + WORDS[8:],)), {}, "the first 7 agree"),
        (heard(1, said=()), {}, "lost, 0 characters"),
        (
            heard(1, end=End.LEFT, said=("whet",)),
            {"leaves_after_s": 0.1},
            "choice 0: altered",
        ),
    ],
)
def test_every_other_end_is_a_sentence(
    record: Heard, behaviour: dict[str, Any], sentence: str
) -> None:
    assert sentence in said_of(record, **behaviour)


def test_a_request_without_a_record_or_with_two_is_told() -> None:
    records = [heard(2), heard(2), heard(9)]
    sentences = list(breaches((due(1), due(2)), observed(records), deadline_s=DEADLINE_S))
    assert sentences == [
        "request 1 was due once and has 0 records",
        "request 2 was due once and has 2 records",
        "request 9 has a record and was never due",
    ]


def test_leaks_and_what_servers_found_themselves_are_told() -> None:
    world = observed([heard(1)], leaks=("a holds 3 blocks",), broken=("b asserts",))
    assert list(breaches((due(1),), world, deadline_s=DEADLINE_S)) == [
        "leak: a holds 3 blocks",
        "the servers broke a rule of their own: b asserts",
    ]


def test_what_is_not_repeatable_undisturbed_is_not_compared() -> None:
    world = observed([heard(1, said=("anything",))], expected={}, is_repeatable=False)
    assert list(breaches((due(1),), world, deadline_s=DEADLINE_S)) == []


@pytest.mark.parametrize(
    ("unknown", "sentences"), [(1, []), (2, ["2 of 10 answers could not be compared"])]
)
def test_where_answers_repeat_nearly_all_must_be_compared(
    unknown: int, sentences: list[str]
) -> None:
    """Refusals and poison are no answers that could be."""
    records = [heard(number) for number in range(10)] + [refused(10), refused(11)]
    dues = (*(due(number) for number in range(11)), due(11, is_poison=True))
    expected = dict.fromkeys(range(unknown, 10), (WORDS,))
    world = observed(records, expected=expected)
    assert list(breaches(dues, world, deadline_s=DEADLINE_S)) == sentences


def test_in_an_exact_world_all_answers_are_compared_and_nobody_is_late() -> None:
    ended_s = due(1).due_s + DEADLINE_S
    late = heard(2, ended_s=ended_s + 1.0)
    dues = tuple(due(number) for number in range(1, 21))
    others = [heard(number) for number in range(3, 21)]
    known = {number: (WORDS,) for number in range(1, 21) if number != 3}
    assert said(dues, observed([heard(1), late, *others], expected=known)) == []
    dues, expected = dues[:2], {1: (WORDS,), 2: (WORDS,)}
    exact = observed([heard(1), late], expected=expected, is_exact=True)
    (sentence,) = said(dues, exact)
    assert "request 2" in sentence and "beyond its deadline" in sentence
    (sentence,) = said(dues, observed([heard(1), heard(2)], expected={1: (WORDS,)}, is_exact=True))
    assert sentence == "1 of 2 answers could not be compared"


def test_a_run_in_which_nothing_was_due_proves_nothing() -> None:
    assert said((), observed([])) == ["nothing was due: nothing was proved"]


@pytest.mark.parametrize("code", sorted(REFUSALS.keys() - {"poison_request"}))
def test_every_typed_refusal_may_come_as_an_answer_or_as_an_event(code: str) -> None:
    for status in (REFUSALS[code], 200):
        assert said_of(refused(1, code=code, status=int(status))) == ""


def test_each_choice_is_compared_by_itself() -> None:
    records = [heard(1, said=(WORDS, WORDS[:2], WORDS + "!"))]
    world = observed(records, expected={1: (WORDS,) * 3})
    assert wrong_streams(world) == {Difference.LOST: 1, Difference.ALTERED: 1}
