"""The story of a request and its spans, both from the one record, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from enum import Enum

import pytest

from orchestrator.gateway import explain as story
from orchestrator.gateway import timeline
from orchestrator.gateway.caller import Caller
from orchestrator.gateway.explain import Explanation, explain
from orchestrator.gateway.record import EVENTS_MAX, Happening, Record
from orchestrator.gateway.request_spans import spans_of
from orchestrator.gateway.stretches import AttemptEnd, Stage
from orchestrator.policy.route import RouteReason
from protos.messages import Request
from protos.trace import Span, new_trace
from tests.unit.dispatch.answers import answer
from tests.unit.dispatch.test_dispatch import busy, until_waiting
from tests.unit.dispatch.test_moves import TOKENS, moving
from tests.unit.dispatch.virtual_time import LoopClock, run
from tests.unit.dispatch.world import ScriptedReplica, World, request, tidy, tokens


def opened(made: World, what: Request) -> Record:
    """As a front door opens it."""
    return made.dispatch.decisions.open(
        what.request_id, what.request_class, what.tenant, trace=new_trace(b"seed")
    )


async def whole(made: World, what: Request) -> Record:
    """The record of a complete answer, ended as a front door ends it."""
    record = opened(made, what)
    async with await made.dispatch.start(what, record=record) as stream:
        async for _ in stream:
            pass
    record.end("ok")
    return record


def told(record: Record) -> Explanation:
    return explain(record, LoopClock())


def of_name(spans: tuple[Span, ...], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def test_an_answer_is_told_from_its_arrival_to_its_end() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a"), ScriptedReplica("b")) as made:
            what = request("x", tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            explanation = told(await whole(made, what))
            assert (explanation.state, explanation.outcome) == ("ended", "ok")
            assert (explanation.replica, explanation.reason) == ("a", "prefix_hit")
            opening, choice, other, *_ = explanation.words
            assert "ended ok" in opening and f"{TOKENS} tokens" in opening
            assert choice.startswith("It went to a (prefix_hit)")
            assert other.startswith("b would have cost")
            whats = [entry.what for entry in explanation.timeline]
            assert whats == [
                *("hash", "locate", "admit", "placed", "attempt"),
                *("first token", "end"),
            ]
            times = [entry.at_ms for entry in explanation.timeline]
            assert times == sorted(times)

    run(scenario())


def test_a_tenant_is_told_of_the_chosen_replica_alone_and_of_no_costs() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a"), ScriptedReplica("b")) as made:
            what = request("x", tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            record = await whole(made, what)
            tenant = Caller("acme-1", what.tenant)
            (placed,) = record.to_json(tenant)["events"]
            held = placed["candidates"][0]["hit_blocks"]
            assert placed["candidates"] == [{"replica": "a", "hit_blocks": held}]
            assert len(record.to_json()["events"][0]["candidates"]) == 2
            words = explain(record, LoopClock(), tenant).words
            (choice,) = [each for each in words if each.startswith("It went to a (prefix_hit)")]
            assert choice.endswith("blocks were there.")
            assert not any("cost" in each for each in words)

    run(scenario())


def test_a_request_that_waits_says_how_long_and_for_what() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            first = busy(made, tokens_max=100)
            await asyncio.sleep(0.1)
            what = request("x", prompt_tokens=20 * 16)
            record = opened(made, what)
            waiting = asyncio.create_task(made.dispatch.start(what, record=record))
            await until_waiting(made, 1)
            await asyncio.sleep(0.25)
            explanation = told(record)
            assert explanation.state == "waiting"
            assert explanation.words[0].endswith("has waited for 251.0 ms so far.")
            waits = explanation.words[1]
            assert waits.startswith("It waits in the gateway's line")
            assert "for room: every replica was full" in waits
            (admit,) = [entry for entry in explanation.timeline if entry.what == "admit"]
            assert admit.lasted_ms is None, "it goes on"
            async with await waiting:
                assert told(record).state == "running"
                assert "It waited" in told(record).words[1]
            await first

    run(scenario())


def test_a_move_is_part_of_the_story_and_of_the_trace() -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", moving(3)), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            record = await whole(made, what)
            words = " ".join(told(record).words)
            assert "a moved it, with its KV, to b." in words
            assert [(a.replica_id, a.end) for a in record.attempts] == [
                ("a", AttemptEnd.MOVED),
                ("b", AttemptEnd.FINISHED),
            ]
            spans = spans_of(record)
            attempts = of_name(spans, "attempt")
            assert [span.attributes["replica"] for span in attempts] == ["a", "b"]
            assert len({span.context.span_id for span in spans}) == len(spans)
            assert [name for _, name in spans[0].events] == ["first token", "moved", "adopted"]

    run(scenario())


def test_each_attempt_tells_its_replica_which_span_it_belongs_to() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            record = await whole(made, request("x", tokens_max=2))
            (asked,) = made.links["a"].asked
            (attempt,) = of_name(spans_of(record), "attempt")
            assert asked.traceparent == attempt.context.traceparent

    run(scenario())


def test_what_nobody_traces_tells_its_replica_nothing() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            await tokens(made, request("x", tokens_max=2))
            (asked,) = made.links["a"].asked
            assert asked.traceparent == ""
            (record,) = made.dispatch.decisions.recent()
            record.end("ok")
            assert spans_of(record) == ()

    run(scenario())


def test_the_span_of_a_route_says_what_it_was_made_of() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a"), ScriptedReplica("b")) as made:
            what = request("x", tokens_max=2)
            await made.hold("b", what.prompt)
            (route,) = of_name(spans_of(await whole(made, what)), "route")
            assert (route.attributes["replica"], route.attributes["reason"]) == ("b", "prefix_hit")
            assert route.attributes["candidates"] == 2
            assert int(route.attributes["hit_blocks"]) > 0

    run(scenario())


def test_what_its_client_does_not_sample_has_no_spans() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            record = await whole(made, request("x", tokens_max=2))
            assert record.trace is not None
            record.trace = replace(record.trace, is_sampled=False)
            assert spans_of(record) == ()

    run(scenario())


def test_a_request_that_has_not_ended_has_no_spans_yet() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            assert spans_of(opened(made, request("x"))) == ()

    run(scenario())


def test_a_record_stays_small_however_often_its_request_is_thrown_about() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            record = opened(made, request("x"))
            for _ in range(EVENTS_MAX + 2):
                record.attempt(0, made.links["a"].record.replica_id)
                record.stretch(Stage.LOCATE, 0, 0)
            assert (len(record.attempts), len(record.stretches)) == (EVENTS_MAX, EVENTS_MAX)
            assert record.left_out == 4
            assert "4 further entries found no room" in told(record).words[-1]

    run(scenario())


def test_an_answer_goes_on_to_be_recorded_for_whoever_was_told_of_its_request() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            await answer(made, request("x", tokens_max=TOKENS))
            (record,) = made.dispatch.decisions.recent()
            assert told(record).state == "running", "its front door has not ended it"

    run(scenario())


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (timeline.STAGES, Stage),
        (timeline.HAPPENINGS, Happening),
        (timeline.ENDS, AttemptEnd),
        (story.ROUTES, RouteReason),
    ],
)
def test_there_are_words_for_everything_that_may_be_recorded(
    words: dict[Enum, str], kind: type[Enum]
) -> None:
    assert set(words) == set(kind)
