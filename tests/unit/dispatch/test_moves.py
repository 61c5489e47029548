"""Replicas give choices away in the middle of an answer: its client notices nothing.

Every scripted replica gives a choice the same token at the same index, so the
undisturbed answer is known; every scenario ends tidy. Power: claiming one
index too early or too late, branching off a journey for choices that stayed,
or forgetting those that left when a loss follows, each fail here.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from orchestrator.control.seams import LossReason
from orchestrator.gateway.decisions import Decisions
from orchestrator.gateway.dispatch import DispatchConfig
from orchestrator.gateway.errors import NoReplica
from orchestrator.gateway.record import EVENTS_MAX, Happening
from orchestrator.gateway.totals import AdoptionEnd, HandoffKind
from protos.messages import RequestId
from tests.unit.dispatch.answers import answer, whole
from tests.unit.dispatch.virtual_time import LoopClock, run
from tests.unit.dispatch.world import Answer, Leave, ScriptedReplica, request, tidy, tokens

TOKENS = 6


def moving(before: int = 2, *, to: str = "b", choice: int | None = None) -> Answer:
    return Answer(leaves=(Leave(before, choice, to),))


def lost_on_the_way(before: int = 2, *, to: str = "b") -> Answer:
    return Answer(leaves=(Leave(before, None, to, arrives=False),))


def giving_back(before: int = 2, *, choice: int | None = None) -> Answer:
    return Answer(leaves=(Leave(before, choice),))


# ---- moved


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("before", range(1, TOKENS))
def test_wherever_a_choice_is_moved_no_token_is_lost_and_none_comes_twice(
    before: int, choices: int
) -> None:
    async def scenario() -> None:
        for choice in range(choices):
            first = ScriptedReplica("a", moving(before, choice=choice))
            second = ScriptedReplica("b")
            async with tidy(first, second) as made:
                what = request(tokens_max=TOKENS, choices=choices)
                await made.hold("a", what.prompt)
                assert await answer(made, what) == whole(what)
                assert second.claims == [(what.request_id, choice, before)]
                assert (len(first.asked), len(second.asked)) == (1, 0)
                assert made.dispatch.totals.handoffs == {HandoffKind.MOVED: 1}
                assert made.dispatch.totals.adoptions == {AdoptionEnd.ADOPTED: 1}
                assert first.cancelled == []

    run(scenario())


def test_a_choice_may_move_several_times_and_come_back() -> None:
    async def scenario() -> None:
        first = ScriptedReplica("a", moving(2), moving(4))
        second = ScriptedReplica("b", moving(3, to="a"), moving(5, to="a"))
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            assert await answer(made, what) == whole(what)
            assert made.dispatch.totals.adoptions == {AdoptionEnd.ADOPTED: 4}

    run(scenario())


def test_choices_may_all_move_to_different_places() -> None:
    async def scenario() -> None:
        leaves = tuple(Leave(choice + 1, choice, "bcd"[choice]) for choice in range(3))
        replicas = [ScriptedReplica("a", Answer(leaves=leaves)), *map(ScriptedReplica, "bcd")]
        async with tidy(*replicas) as made:
            what = request(tokens_max=TOKENS, choices=3)
            await made.hold("a", what.prompt)
            assert await answer(made, what) == whole(what)
            assert [len(replica.claims) for replica in replicas] == [0, 1, 1, 1]

    run(scenario())


@pytest.mark.parametrize(
    ("target", "end"), [("b", AdoptionEnd.GONE), ("nowhere", AdoptionEnd.UNREACHABLE)]
)
def test_a_choice_that_is_not_where_it_was_moved_is_resumed(target: str, end: AdoptionEnd) -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", lost_on_the_way(to=target)), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            assert await answer(made, what) == whole(what)
            assert [rest.output for rest in second.asked] == [(0, 1)]
            assert made.dispatch.totals.adoptions == {end: 1}
            assert made.dispatch.totals.streams_resumed == {}

    run(scenario())


def test_a_target_that_dies_before_it_answers_is_a_loss() -> None:
    async def scenario() -> None:
        first = ScriptedReplica("a", moving(3))
        second = ScriptedReplica("b")
        async with tidy(first, second, ScriptedReplica("c")) as made:
            second.answers = [Answer(lost_before=3, dies=True)]
            what = request(tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            assert await answer(made, what) == whole(what)
            assert made.dispatch.totals.streams_resumed[LossReason.BROKEN] == 1

    run(scenario())


def test_a_source_that_dies_after_a_move_takes_only_what_was_left_with_it() -> None:
    async def scenario() -> None:
        leave = (Leave(2, 1, "b"),)
        first = ScriptedReplica("a", Answer(leaves=leave, lost_before=4, dies=True))
        second, third = ScriptedReplica("b"), ScriptedReplica("c")
        async with tidy(first, second, third) as made:
            what = request(tokens_max=TOKENS, choices=3)
            await made.hold("a", what.prompt)
            assert await answer(made, what) == whole(what)
            resumed = [rest.first_choice for rest in second.asked + third.asked]
            assert sorted(resumed) == [0, 2]

    run(scenario())


def test_a_choice_may_move_before_it_was_resumed_at_all() -> None:
    async def scenario() -> None:
        first = ScriptedReplica("a", Answer(lost_before=2, dies=True))
        second, third = ScriptedReplica("b", moving(2, to="c")), ScriptedReplica("c")
        async with tidy(first, second, third) as made:
            what = request(tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            await made.hold("b", what.prompt)
            assert await answer(made, what) == whole(what)
            assert second.asked and third.claims == [(what.request_id, 0, 2)]

    run(scenario())


# ---- handed back


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("before", range(1, TOKENS))
def test_a_choice_handed_back_goes_on_elsewhere(before: int, choices: int) -> None:
    async def scenario() -> None:
        first = ScriptedReplica("a", giving_back(before, choice=choices - 1))
        second = ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS, choices=choices)
            await made.hold("a", what.prompt)
            assert await answer(made, what) == whole(what)
            (rest,) = second.asked
            assert (rest.first_choice, len(rest.output)) == (choices - 1, before)
            assert made.dispatch.totals.handoffs == {HandoffKind.HANDED_BACK: 1}
            assert made.dispatch.totals.streams_resumed == {}

    run(scenario())


@pytest.mark.parametrize("choices", [1, 3])
def test_a_request_handed_back_before_its_first_token_sets_out_again_whole(choices: int) -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", giving_back(0)), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS, choices=choices)
            await made.hold("a", what.prompt)
            assert await answer(made, what) == whole(what)
            assert second.asked == [what]

    run(scenario())


def test_handing_back_is_not_held_against_a_request() -> None:
    """More replicas do so than may fail, and none of them was lost."""

    async def scenario() -> None:
        leaving = [ScriptedReplica(name, giving_back(0)) for name in "abcde"]
        last = ScriptedReplica("f")
        async with tidy(*leaving, last, config=DispatchConfig(attempts_max=1)) as made:
            for replica in leaving:
                await made.hold(replica.record.replica_id, request().prompt)
            async with await made.dispatch.start(request()) as stream:
                assert (stream.replica_id, stream.attempts) == ("f", 6)
                assert len([delta async for delta in stream]) == 4

    run(scenario())


def test_a_replica_that_hands_back_for_ever_is_not_asked_for_ever() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a", Answer(leaves=(Leave(2),)), *[giving_back(2)] * 100)
        async with tidy(replica) as made:
            with pytest.raises(Exception, match="no other one took over"):
                await answer(made, request(tokens_max=TOKENS))
            assert len(replica.asked) < 10

    run(scenario())


def test_a_request_handed_back_keeps_its_place_in_the_line() -> None:
    async def scenario() -> None:
        first = ScriptedReplica("a", Answer(first_after_s=1.0, leaves=(Leave(0),)))
        second = ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request("first", tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            early = asyncio.create_task(tokens(made, what))
            await asyncio.sleep(0.5)
            filling = asyncio.create_task(
                tokens(
                    made,
                    request("large", prompt_tokens=98 * 16, tokens_max=200, token_first=5000),
                )
            )
            await asyncio.sleep(0.1)
            first.is_draining = True
            first.report()
            late = asyncio.create_task(tokens(made, request("late", prompt_tokens=64)))
            await asyncio.gather(early, filling, late)
            assert second.served == ["large", "first", "late"]

    run(scenario())


def test_a_request_that_nobody_keeps_ends_with_a_status_that_says_so() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a", *[giving_back(0)] * 100)
        config = DispatchConfig(queue_ns_max=2_000_000_000)
        async with tidy(replica, config=config) as made:
            with pytest.raises(NoReplica):
                await made.dispatch.start(request())

    run(scenario())


# ---- the client leaves


@pytest.mark.parametrize("when_s", [0.031, 0.033, 0.1])
def test_a_client_that_leaves_around_an_adoption_leaves_nothing(when_s: float) -> None:
    """Before the target has answered, and after."""

    async def scenario() -> None:
        first, second = ScriptedReplica("a", moving(2, choice=1)), ScriptedReplica("b")
        second.answers = [Answer(first_after_s=0.02)]
        async with tidy(first, second) as made:
            what = request(tokens_max=1000, choices=2)
            await made.hold("a", what.prompt)
            reading = asyncio.create_task(answer(made, what))
            await asyncio.sleep(when_s)
            assert second.claims
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            assert (first.cancelled, second.cancelled) == (["r"], ["r"])

    run(scenario())


def test_one_choice_goes_ahead_where_one_more_loss_would_be_the_last() -> None:
    async def scenario() -> None:
        first = ScriptedReplica("a", Answer(lost_before=1, dies=True))
        second = ScriptedReplica("b", Answer(first_after_s=5.0))
        config = DispatchConfig(losses_max=2)
        async with tidy(first, second, config=config) as made:
            what = request(tokens_max=TOKENS, choices=4)
            await made.hold("a", what.prompt)
            reading = asyncio.create_task(answer(made, what))
            await asyncio.sleep(3)
            assert len(second.asked) == 1
            assert await reading == whole(what)
            assert len(second.asked) == 4

    run(scenario())


# ---- the record of it


def test_what_was_known_and_what_happened_can_be_asked_for() -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", moving(3)), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            await answer(made, what)
            found = made.dispatch.decisions.of(what.request_id)
            assert found is not None
            record = found.to_json()
            placed, moved, adopted = record["events"]
            assert (placed["replica"], placed["reason"]) == ("a", "prefix_hit")
            assert [c["replica"] for c in placed["candidates"]] == ["a", "b"]
            assert placed["candidates"][0]["hit_blocks"] == 3
            assert (moved["event"], moved["replica"], moved["detail"]) == ("moved", "a", "b")
            assert (adopted["event"], adopted["replica"]) == (Happening.ADOPTED.value, "b")
            times = [event["at_ms"] for event in record["events"]]
            assert all(earlier <= later for earlier, later in pairwise(times))
            assert made.dispatch.decisions.of(RequestId("stranger")) is None

    run(scenario())


def test_only_so_many_requests_are_remembered() -> None:
    async def scenario() -> None:
        decisions = Decisions(LoopClock(), requests_max=2)
        for name in "xyz":
            decisions.begin(request(name))
        assert [name for name in "xyz" if decisions.of(RequestId(name))] == ["y", "z"]

    run(scenario())


def test_a_request_is_found_by_the_name_that_its_client_gave() -> None:
    async def scenario() -> None:
        decisions = Decisions(LoopClock())
        for own_id in ("mine-00000001", "mine-00000002", "mine-too-00000003"):
            decisions.begin(request(own_id))
        latest = decisions.of(RequestId("mine"))
        assert latest is not None and latest.request_id == "mine-00000002"
        assert decisions.of(RequestId("mine-")) is None

    run(scenario())


def test_only_so_many_events_of_a_request_are_remembered() -> None:
    async def scenario() -> None:
        decisions = Decisions(LoopClock())
        record = decisions.begin(request("x"))
        for _ in range(EVENTS_MAX + 3):
            record.note(0, Happening.MOVED)
        told = record.to_json()
        assert (len(told["events"]), told["events_left_out"]) == (EVENTS_MAX, 3)

    run(scenario())


def test_the_newest_request_is_told_first_with_what_came_of_it() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a"), ScriptedReplica("b")) as made:
            await made.hold("a", request("late", tokens_max=TOKENS).prompt)
            for name in ("early", "late"):
                await answer(made, request(name, tokens_max=TOKENS))
            late, early = made.dispatch.decisions.recent()
            assert (late.request_id, early.request_id) == ("late", "early")
            assert (late.replica_id, late.reason) == ("a", "prefix_hit")
            assert late.first_token_ns is not None and late.began_ns <= late.first_token_ns
            assert late.completion_tokens == TOKENS
            assert (late.ended_ns, late.outcome) == (None, None), "whoever opens a record ends it"
            assert made.dispatch.decisions.recent(1) == (late,)

    run(scenario())
