"""A replica is lost in the middle of an answer: its client gets the whole answer all the same.

The scripted replicas all give a choice the same token at the same index, so
the undisturbed answer is known, and every scenario ends tidy.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestrator.control.seams import LossReason
from orchestrator.gateway.dispatch import DispatchConfig
from orchestrator.gateway.errors import PoisonRequest, ReplicaFailed
from orchestrator.gateway.totals import RetryReason
from orchestrator.policy.admit import AdmitConfig, AdmitReason
from protos.messages import RefusalReason, RequestClass, RequestId
from tests.unit.dispatch.answers import answer, whole
from tests.unit.dispatch.virtual_time import run
from tests.unit.dispatch.world import CARD, Answer, ScriptedReplica, World, request, tidy, tokens

SECOND = 1_000_000_000
QUEUED = (RequestClass.INTERACTIVE, AdmitReason.NO_ROOM)
TOKENS = 6


def dying(
    before: int = 2, *, how: LossReason = LossReason.BROKEN, choice: int | None = None
) -> Answer:
    return Answer(lost_before=before, lost_how=how, lost_choice=choice, dies=True)


def busy(made: World, tokens_max: int) -> asyncio.Task[list[int]]:
    """A request that fills a replica of 100 blocks for a hundredth of a second a token."""
    large = request("large", prompt_tokens=98 * 16, tokens_max=tokens_max, token_first=5000)
    return asyncio.create_task(tokens(made, large))


# ---- the stream goes on


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("before", range(1, TOKENS))
def test_wherever_a_replica_is_lost_no_token_is_lost_and_none_comes_twice(
    before: int, choices: int
) -> None:
    async def scenario() -> None:
        for choice in range(choices):
            first, second = ScriptedReplica("a", dying(before, choice=choice)), ScriptedReplica("b")
            async with tidy(first, second) as made:
                what = request(tokens_max=TOKENS, choices=choices)
                await made.hold("a", what.prompt)
                assert await answer(made, what) == whole(what)
                assert made.dispatch.totals.streams_resumed == {LossReason.BROKEN: 1}
                assert made.dispatch.totals.streams_lost == 0

    run(scenario())


def test_what_is_asked_of_the_next_replica_is_exactly_the_rest() -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", dying(3, choice=1)), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS, choices=2)
            await made.hold("a", what.prompt)
            await answer(made, what)
            rests = sorted(second.asked, key=lambda rest: rest.first_choice)
            assert [(rest.first_choice, rest.choices, rest.output) for rest in rests] == [
                (0, 1, (0, 1, 2, 3)),
                (1, 1, (100, 101, 102)),
            ]
            for rest in rests:
                assert (rest.prompt, rest.sampling) == (what.prompt, what.sampling)
            assert {rest.request_id for rest in rests} == {what.request_id}

    run(scenario())


def test_a_choice_that_had_finished_does_not_run_again() -> None:
    async def scenario() -> None:
        first = ScriptedReplica("a", dying(TOKENS - 1, choice=1))
        second = ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS, choices=2)
            await made.hold("a", what.prompt)
            assert await answer(made, what) == whole(what)
            assert [rest.first_choice for rest in second.asked] == [1]

    run(scenario())


@pytest.mark.parametrize("choices", [1, 2])
def test_two_replicas_may_be_lost_one_after_the_other(choices: int) -> None:
    async def scenario() -> None:
        first = ScriptedReplica("a", dying(2))
        second = ScriptedReplica("b", *[dying(4)] * choices)
        third = ScriptedReplica("c")
        async with tidy(first, second, third) as made:
            what = request(tokens_max=TOKENS, choices=choices)
            await made.hold("a", what.prompt)
            await made.hold("b", what.prompt)
            assert await answer(made, what) == whole(what)
            assert third.asked

    run(scenario())


@pytest.mark.parametrize("reason", [RefusalReason.DRAINING, RefusalReason.QUEUE_FULL])
def test_a_replica_that_refuses_the_rest_is_not_the_end(reason: RefusalReason) -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", dying()), ScriptedReplica("b", Answer(refusal=reason))
        async with tidy(first, second, ScriptedReplica("c")) as made:
            what = request(tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            await made.hold("b", what.prompt)
            assert await answer(made, what) == whole(what)
            assert second.asked
            assert made.dispatch.totals.retried == {RetryReason(reason.value): 1}

    run(scenario())


def test_a_replica_lost_before_it_resumes_anything_is_not_the_end() -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", dying(2)), ScriptedReplica("b", dying(2))
        async with tidy(first, second, ScriptedReplica("c")) as made:
            what = request(tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            await made.hold("b", what.prompt)
            assert await answer(made, what) == whole(what)
            assert second.asked[0].output == (0, 1)

    run(scenario())


def test_a_replica_that_lost_a_stream_is_avoided_even_if_it_looks_well() -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", Answer(lost_before=2)), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            assert await answer(made, what) == whole(what)
            assert (len(first.asked), len(second.asked)) == (1, 1)

    run(scenario())


# ---- the stream waits


def test_choices_wait_side_by_side_and_no_bound_on_newcomers_turns_them_away() -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", dying(5)), ScriptedReplica("b")
        config = DispatchConfig(admit=AdmitConfig(queue_max=0))
        async with tidy(first, second, config=config) as made:
            what = request(tokens_max=TOKENS, choices=3)
            await made.hold("a", what.prompt)
            cut = asyncio.create_task(answer(made, what))
            filling = busy(made, 200)
            await asyncio.sleep(1)
            assert made.dispatch.waiting == 3
            await filling
            assert await cut == whole(what)

    run(scenario())


def test_a_stream_waits_for_room_in_its_old_place_in_the_line() -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", dying(5)), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS)
            await made.hold("a", what.prompt)
            cut = asyncio.create_task(answer(made, what))
            filling = busy(made, 100)
            await asyncio.sleep(0.04)
            assert (len(first.asked), len(second.asked)) == (1, 1)
            first.is_draining = True  # so that who comes later has to wait for b
            first.report()
            late = asyncio.create_task(tokens(made, request("late", prompt_tokens=64)))
            await asyncio.gather(cut, filling, late)
            assert cut.result() == whole(what)
            assert second.served == ["large", "r", "late"]
            assert made.dispatch.totals.queued[QUEUED] >= 1

    run(scenario())


def test_a_stream_waits_for_a_replica_and_holds_up_nobody() -> None:
    """The replica that is left has other weights: new requests may use it, the stream may not."""

    async def scenario() -> None:
        first = ScriptedReplica("a", dying())
        other = ScriptedReplica("b", card=replace(CARD, revision="r2"))
        later = ScriptedReplica("c")
        async with tidy(first) as made:
            for replica in (other, later):
                made.links[replica.record.replica_id] = replica
            what = request(tokens_max=TOKENS)
            cut = asyncio.create_task(answer(made, what))
            await asyncio.sleep(0.015)
            await made.join(other)
            await asyncio.sleep(1)
            assert await tokens(made, request("new")) == [0, 1, 2, 3]
            assert not cut.done()
            await made.join(later)
            assert await cut == whole(what)
            assert (other.served, later.served) == (["new"], ["r"])

    run(scenario())


def test_the_lost_replica_may_go_on_itself_when_it_is_back_and_alone() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a", dying())
        async with tidy(replica) as made:
            cut = asyncio.create_task(answer(made, request(tokens_max=TOKENS)))
            await asyncio.sleep(2)
            assert not cut.done()
            replica.is_up = True
            replica.report()
            assert await cut == whole(request(tokens_max=TOKENS))

    run(scenario())


# ---- the stream ends


def test_a_stream_ends_when_nobody_takes_over_within_its_patience() -> None:
    async def scenario() -> None:
        config = DispatchConfig(queue_ns_max=7 * SECOND)
        async with tidy(ScriptedReplica("a", dying()), config=config) as made:
            seen = []
            with pytest.raises(ReplicaFailed) as caught:
                async with await made.dispatch.start(request(tokens_max=TOKENS)) as stream:
                    async for delta in stream:
                        seen.append(delta.first_index)
            assert seen == [0, 1]
            assert caught.value.code == "replica_lost"
            assert asyncio.get_running_loop().time() == pytest.approx(7, abs=0.1)
            assert made.dispatch.totals.streams_lost == 1

    run(scenario())


def test_a_stream_ends_at_its_clients_deadline() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a", dying())) as made:
            with pytest.raises(ReplicaFailed):
                async with await made.dispatch.start(request(), deadline_ns=3 * SECOND) as stream:
                    async for _ in stream:
                        pass
            assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.1)

    run(scenario())


def test_one_choice_that_cannot_go_on_ends_the_others() -> None:
    async def scenario() -> None:
        first = ScriptedReplica("a", dying())
        second = ScriptedReplica("b", Answer(refusal=RefusalReason.NEVER_FITS))
        async with tidy(first, second) as made:
            what = request(tokens_max=1000, choices=3)
            await made.hold("a", what.prompt)
            with pytest.raises(ReplicaFailed) as caught:
                await answer(made, what)
            assert caught.value.code == "replica_lost"
            assert len(second.cancelled) == 2
            assert made.dispatch.totals.streams_lost == 1

    run(scenario())


@pytest.mark.parametrize("choices", [1, 2])
def test_a_request_on_which_replicas_keep_dying_is_poison(choices: int) -> None:
    async def scenario() -> None:
        replicas = [ScriptedReplica(name, *[dying(4)] * choices) for name in "abcde"]
        async with tidy(*replicas) as made:
            with pytest.raises(PoisonRequest) as caught:
                await answer(made, request(tokens_max=20, choices=choices))
            assert caught.value.code == "poison_request"
            assert sum(not replica.is_up for replica in replicas) == 3

    run(scenario())


def test_a_poison_request_that_comes_again_costs_no_replica_for_a_while() -> None:
    async def scenario() -> None:
        replicas = [ScriptedReplica(name, dying(4)) for name in "abcd"]
        async with tidy(*replicas) as made:
            what = request(tokens_max=20)
            with pytest.raises(PoisonRequest):
                await answer(made, what)
            sampling = replace(what.sampling, seed=what.sampling.seed + 1)
            again = replace(what, request_id=RequestId("again"), sampling=sampling)
            with pytest.raises(PoisonRequest, match="like this one"):
                await answer(made, again)
            assert sum(replica.is_up for replica in replicas) == 1
            record = made.dispatch.decisions.of(again.request_id)
            assert record is not None
            assert [e["event"] for e in record.to_json()["events"]] == ["given_up"]
            (left,) = (replica for replica in replicas if replica.is_up)
            left.answers.clear()
            other = replace(what, request_id=RequestId("other"), prompt=(*what.prompt, 1))
            assert await answer(made, other), "others are not refused for that"
            await asyncio.sleep(121)
            assert await answer(made, again), "and it is given another chance"

    run(scenario())


def test_a_replica_that_dies_under_several_choices_is_one_loss() -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", dying(2)), ScriptedReplica("b", *[dying(4)] * 8)
        async with tidy(first, second, ScriptedReplica("c")) as made:
            what = request(tokens_max=20, choices=8)
            await made.hold("a", what.prompt)
            made.links["c"].is_draining = True
            made.links["c"].report()
            cut = asyncio.create_task(answer(made, what))
            await asyncio.sleep(0.05)
            made.links["c"].is_draining = False
            made.links["c"].report()
            assert await cut == whole(what)
            assert len(second.asked) == 8

    run(scenario())


@pytest.mark.parametrize("how", [LossReason.STOPPED, LossReason.SLOW_READER])
def test_a_replica_that_did_not_die_is_not_held_against_the_request(how: LossReason) -> None:
    async def scenario() -> None:
        replicas = [
            ScriptedReplica(name, Answer(lost_before=n, lost_how=how))
            for n, name in enumerate("abcde", 1)
        ]
        config = DispatchConfig(losses_max=1)
        async with tidy(*replicas, config=config) as made:
            assert await answer(made, request(tokens_max=20)) == whole(request(tokens_max=20))
            assert set(made.dispatch.totals.streams_resumed) == {how}

    run(scenario())


# ---- the client leaves


@pytest.mark.parametrize("choices", [1, 3])
def test_a_client_that_leaves_while_its_stream_waits_leaves_nothing(choices: int) -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a", dying())) as made:
            what = request(tokens_max=TOKENS, choices=choices)
            cut = asyncio.create_task(answer(made, what))
            await asyncio.sleep(1)
            cut.cancel()
            await asyncio.gather(cut, return_exceptions=True)
            assert cut.cancelled()

    run(scenario())


@pytest.mark.parametrize("choices", [1, 3])
def test_a_client_that_leaves_while_its_stream_stands_in_the_line_leaves_nothing(
    choices: int,
) -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", dying(5)), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS, choices=choices)
            await made.hold("a", what.prompt)
            cut = asyncio.create_task(answer(made, what))
            filling = busy(made, 200)
            await asyncio.sleep(1)
            assert made.dispatch.waiting == choices
            cut.cancel()
            await asyncio.gather(cut, return_exceptions=True)
            assert made.dispatch.waiting == 0
            await filling

    run(scenario())


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("after_s", [0.001, 5.0])
def test_a_client_that_leaves_a_resumed_stream_cancels_every_choice(
    choices: int, after_s: float
) -> None:
    """Cancelled before the first token that follows, and after some."""

    async def scenario() -> None:
        first, second = ScriptedReplica("a", dying()), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=1000, choices=choices)
            await made.hold("a", what.prompt)
            cut = asyncio.create_task(answer(made, what))
            while not second.asked:  # noqa: ASYNC110 (in virtual time it is free)
                await asyncio.sleep(0.001)
            await asyncio.sleep(after_s)
            cut.cancel()
            await asyncio.gather(cut, return_exceptions=True)
            assert cut.cancelled()
            assert sorted(second.cancelled) == sorted(second.served)
            assert len(second.served) == choices

    run(scenario())


@pytest.mark.parametrize("choices", [1, 3])
def test_a_resumed_stream_that_is_closed_early_cancels_every_choice(choices: int) -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a", dying()), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=1000, choices=choices)
            await made.hold("a", what.prompt)
            async with await made.dispatch.start(what) as stream:
                async for delta in stream:
                    if delta.first_index == 10:
                        break
            assert sorted(second.cancelled) == sorted(second.served)
            assert len(second.served) == choices

    run(scenario())
