"""The request path with scripted replicas: what a client sees, and what is left behind.

Every scenario ends with the same check: no debit, nobody in the line, and no
request at any replica.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest

from orchestrator.control.seams import LossReason
from orchestrator.gateway.dispatch import DispatchConfig
from orchestrator.gateway.errors import (
    GatewayError,
    InvalidRequest,
    NoReplica,
    PoisonRequest,
    ReplicaFailed,
    Shed,
    Unservable,
)
from orchestrator.gateway.totals import RetryReason
from orchestrator.policy.admit import AdmitConfig, AdmitReason
from orchestrator.policy.route import RouteReason
from protos.messages import RefusalReason, RequestClass
from tests.unit.dispatch.virtual_time import run
from tests.unit.dispatch.world import Answer, ScriptedReplica, World, request, tidy, tokens

LOST_AT_ONCE = Answer(lost_before=0)
DRAINING = Answer(refusal=RefusalReason.DRAINING)
FULL = Answer(refusal=RefusalReason.QUEUE_FULL)
SECOND = 1_000_000_000
QUEUED = (RequestClass.INTERACTIVE, AdmitReason.NO_ROOM)


# ---- the good case


def test_a_request_is_answered_and_says_by_whom() -> None:
    async def scenario() -> None:
        async with (
            tidy(ScriptedReplica("a")) as made,
            await made.dispatch.start(request()) as stream,
        ):
            assert (stream.replica_id, stream.attempts, stream.hit_tokens) == ("a", 1, 0)
            assert stream.timing.first_delta_ns == 10_000_000
            assert stream.timing.queue_ns == 0
            deltas = [delta async for delta in stream]
            assert [delta.first_index for delta in deltas] == [0, 1, 2, 3]

    run(scenario())


def test_a_request_goes_where_its_prefix_is() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a"), ScriptedReplica("b")) as made:
            await made.hold("b", request(token_first=0).prompt)
            for number in range(5):
                await tokens(made, request(f"{number}", token_first=0))
            assert len(made.links["b"].served) == 5
            assert made.dispatch.totals.placed == {RouteReason.PREFIX_HIT: 5}

    run(scenario())


def test_a_spike_of_identical_requests_spreads_before_any_report_shows_it() -> None:
    """Power: with `charge` returning an uncounted debit all 64 go to one replica."""

    async def scenario() -> None:
        replicas = [ScriptedReplica(name, blocks_total=1000) for name in "abcd"]
        async with tidy(*replicas) as made:
            await made.hold("b", request(token_first=0).prompt)
            spike = (request(f"{n}", token_first=0) for n in range(64))
            await asyncio.gather(*(tokens(made, what) for what in spike))
            shares = Counter({name: len(r.served) for name, r in made.links.items()})
            assert sum(shares.values()) == 64
            assert max(shares.values()) <= 32

    run(scenario())


# ---- another replica instead


@pytest.mark.parametrize(
    ("setback", "reason"),
    [
        (DRAINING, RetryReason.DRAINING),
        (FULL, RetryReason.QUEUE_FULL),
        (LOST_AT_ONCE, RetryReason.LOST),
        (Answer(ends_before=0), RetryReason.LOST),
    ],
)
def test_a_replica_that_does_not_answer_costs_the_client_nothing(
    setback: Answer, reason: RetryReason
) -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a", setback), ScriptedReplica("b")) as made:
            await made.hold("a", request().prompt)
            async with await made.dispatch.start(request()) as stream:
                assert (stream.replica_id, stream.attempts) == ("b", 2)
                assert len([delta async for delta in stream]) == 4
            assert made.dispatch.totals.retried == {reason: 1}

    run(scenario())


@pytest.mark.parametrize(
    ("setback", "error", "code"),
    [
        (DRAINING, NoReplica, "draining"),
        (FULL, Shed, "overloaded"),
        (Answer(lost_before=0, lost_how=LossReason.STOPPED), ReplicaFailed, "replica_lost"),
        (LOST_AT_ONCE, PoisonRequest, "poison_request"),
    ],
)
def test_attempts_are_bounded(setback: Answer, error: type[GatewayError], code: str) -> None:
    async def scenario() -> None:
        replicas = [ScriptedReplica(name, setback) for name in "abcde"]
        async with tidy(*replicas) as made:
            with pytest.raises(error) as caught:
                await made.dispatch.start(request())
            assert caught.value.code == code
            assert sum(len(replica.served) for replica in replicas) == 3

    run(scenario())


def test_when_every_replica_failed_the_client_hears_why() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a", LOST_AT_ONCE)) as made:
            with pytest.raises(ReplicaFailed):
                await made.dispatch.start(request())

    run(scenario())


@pytest.mark.parametrize(
    ("reason", "error", "code"),
    [
        (RefusalReason.NEVER_FITS, Unservable, "never_fits"),
        (RefusalReason.CONTEXT_EXCEEDED, InvalidRequest, "context_length_exceeded"),
        (RefusalReason.TOKEN_OUT_OF_RANGE, InvalidRequest, "token_out_of_range"),
        (RefusalReason.INVALID, InvalidRequest, "invalid_request"),
    ],
)
def test_a_request_that_fails_everywhere_is_not_tried_again(
    reason: RefusalReason, error: type[GatewayError], code: str
) -> None:
    async def scenario() -> None:
        replicas = [ScriptedReplica(name, Answer(refusal=reason)) for name in "ab"]
        async with tidy(*replicas) as made:
            with pytest.raises(error) as caught:
                await made.dispatch.start(request())
            assert caught.value.code == code
            assert sum(len(replica.served) for replica in replicas) == 1

    run(scenario())


# ---- after the first delta


@pytest.mark.parametrize("fault", [Answer(skipped=1), Answer(ends_before=2)])
def test_a_gap_is_an_error_and_never_an_answer(fault: Answer) -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a", fault)) as made:
            with pytest.raises(ReplicaFailed) as caught:
                await tokens(made, request())
            assert caught.value.code == "stream_broken"
            assert made.dispatch.totals.streams_broken == 1

    run(scenario())


def test_closing_a_stream_early_cancels_at_the_replica() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            async with await made.dispatch.start(request()) as stream:
                await anext(stream)
            assert replica.cancelled == ["r"]
            await stream.close()

    run(scenario())


def test_reading_to_the_end_cancels_nothing() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            assert await tokens(made, request()) == [0, 1, 2, 3]
            assert replica.cancelled == []

    run(scenario())


# ---- without the registry


@pytest.mark.parametrize("kind", ["down", "silent"])
def test_a_missing_registry_costs_hits_and_no_request(kind: str) -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a"), ScriptedReplica("b")) as made:
            made.registry.is_down = kind == "down"
            made.registry.is_silent = kind == "silent"
            for number in range(10):
                assert len(await tokens(made, request(f"{number}"))) == 4
            assert made.dispatch.totals.registry_missed == 10
            assert made.registry.asked == 1  # the others did not wait for it
            await asyncio.sleep(1)
            made.registry.is_down = made.registry.is_silent = False
            await tokens(made, request("again"))
            assert made.registry.asked == 2
            assert made.dispatch.totals.registry_missed == 10

    run(scenario())


# ---- the line


def busy(made: World, tokens_max: int = 1000) -> asyncio.Task[list[int]]:
    """A request that fills a replica of 100 blocks for ten seconds."""
    large = request("large", prompt_tokens=90 * 16, tokens_max=tokens_max)
    return asyncio.create_task(tokens(made, large))


async def until_waiting(made: World, count: int) -> None:
    async with asyncio.timeout(10):
        while made.dispatch.waiting != count:  # noqa: ASYNC110 (in virtual time it is free)
            await asyncio.sleep(0.001)


def test_a_request_waits_for_room_and_is_served_when_there_is_some() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            first = busy(made, tokens_max=100)
            await asyncio.sleep(0.1)
            stream = await made.dispatch.start(request(prompt_tokens=20 * 16))
            async with stream:
                assert first.done() or 0.8e9 < stream.timing.queue_ns < 1.2e9
                assert made.dispatch.totals.queued == {QUEUED: 1}
            await first

    run(scenario())


def test_the_line_is_first_come_first_served() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            first = busy(made, tokens_max=100)
            await asyncio.sleep(0.1)
            waiting = []
            for name in "xyz":
                what = request(name, prompt_tokens=60 * 16, tokens_max=2)
                waiting.append(asyncio.create_task(tokens(made, what)))
                await until_waiting(made, len(waiting))
            await asyncio.gather(first, *waiting)
            assert replica.served == ["large", "x", "y", "z"]

    run(scenario())


def test_a_request_sent_back_stands_before_those_who_came_later() -> None:
    """`early` is refused by b only after `late` has joined the line for a."""

    async def scenario() -> None:
        a = ScriptedReplica("a")
        b = ScriptedReplica("b", Answer(refusal=RefusalReason.DRAINING, first_after_s=0.5))
        async with tidy(a, b) as made:
            await made.hold("a", request("large", prompt_tokens=90 * 16).prompt)
            first = busy(made, tokens_max=100)
            await asyncio.sleep(0.1)
            other = partial(request, prompt_tokens=64 * 16, token_first=500)
            early = asyncio.create_task(tokens(made, other("early")))
            await asyncio.sleep(0.1)
            assert (a.served, b.served) == (["large"], ["early"])
            b.is_draining = True
            b.report()
            late = asyncio.create_task(tokens(made, other("late")))
            await until_waiting(made, 1)
            await until_waiting(made, 2)
            await asyncio.gather(first, early, late)
            assert a.served == ["large", "early", "late"]

    run(scenario())


def test_the_lines_bound_sheds_with_the_time_it_takes() -> None:
    async def scenario() -> None:
        config = DispatchConfig(admit=AdmitConfig(queue_max=2))
        async with tidy(ScriptedReplica("a"), config=config) as made:
            first = busy(made, tokens_max=100)
            await asyncio.sleep(0.1)
            tasks = [
                asyncio.create_task(tokens(made, request(f"{n}", prompt_tokens=20 * 16)))
                for n in range(2)
            ]
            await until_waiting(made, 2)
            with pytest.raises(Shed) as caught:
                await made.dispatch.start(request("x", prompt_tokens=20 * 16))
            assert caught.value.code == "queue_full"
            # Two before it at 3 s each, and a place in the pool: all assumed so far.
            assert 6 <= caught.value.retry_after_s <= 9
            await asyncio.gather(first, *tasks)

    run(scenario())


def test_a_request_leaves_the_line_at_its_deadline() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            first = busy(made)
            await asyncio.sleep(0.1)
            began = asyncio.get_running_loop().time()
            deadline_ns = int((began + 5) * SECOND)
            with pytest.raises(Shed) as caught:
                await made.dispatch.start(request(prompt_tokens=20 * 16), deadline_ns=deadline_ns)
            assert caught.value.code == "wait_too_long"
            assert asyncio.get_running_loop().time() == pytest.approx(began + 5)
            await first

    run(scenario())


def test_a_replica_is_told_how_much_time_its_client_has_left() -> None:
    """What is left when it is sent: a refusal by another replica took 10 ms of it."""

    async def scenario() -> None:
        replica = ScriptedReplica("a", FULL)
        async with tidy(replica, ScriptedReplica("b", FULL)) as made:
            deadline_ns = int((asyncio.get_running_loop().time() + 5) * SECOND)
            with pytest.raises(GatewayError):
                made.links["b"].answers.append(FULL)
                replica.answers.append(FULL)
                await made.dispatch.start(request(), deadline_ns=deadline_ns)
            asked = [*replica.asked, *made.links["b"].asked]
            assert sorted(what.deadline_ms or 0 for what in asked) == [4990, 5000]

    run(scenario())


def test_a_request_of_a_patient_client_has_no_deadline_at_its_replica() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            await tokens(made, request())
            assert [what.deadline_ms for what in replica.asked] == [None]

    run(scenario())


def test_a_request_that_is_overdue_at_its_replica_is_shed_as_in_the_gateways_own_line() -> None:
    async def scenario() -> None:
        replicas = [ScriptedReplica(name, Answer(refusal=RefusalReason.OVERDUE)) for name in "ab"]
        async with tidy(*replicas) as made:
            with pytest.raises(Shed) as caught:
                await tokens(made, request())
            assert caught.value.code == "wait_too_long"
            assert sum(len(replica.asked) for replica in replicas) == 1  # no second one is tried
            counted = {(RequestClass.INTERACTIVE, AdmitReason.WAIT_TOO_LONG): 1}
            assert made.dispatch.totals.turned_away == counted

    run(scenario())


def test_cancelling_a_queued_request_lets_the_next_one_through() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            first = busy(made, tokens_max=100)
            await asyncio.sleep(0.1)
            blocked = asyncio.create_task(tokens(made, request("huge", prompt_tokens=90 * 16)))
            await until_waiting(made, 1)
            small = asyncio.create_task(tokens(made, request("small", prompt_tokens=16)))
            await until_waiting(made, 2)
            blocked.cancel()
            assert len(await small) == 4
            assert not first.done()
            assert replica.served == ["large", "small"]
            await first

    run(scenario())


def test_cancelling_before_the_first_delta_cancels_at_the_replica() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a", Answer(first_after_s=5))
        async with tidy(replica) as made:
            call = asyncio.create_task(made.dispatch.start(request()))
            await asyncio.sleep(1)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert replica.cancelled == ["r"]

    run(scenario())


# ---- nobody there


def test_without_a_replica_there_is_no_waiting() -> None:
    async def scenario() -> None:
        async with tidy() as made:
            assert made.dispatch.card() is None
            assert not made.dispatch.is_ready()
            with pytest.raises(NoReplica):
                await made.dispatch.start(request())

    run(scenario())


def test_a_draining_fleet_is_not_ready() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            assert made.dispatch.is_ready()
            replica.is_draining = True
            replica.report()
            assert not made.dispatch.is_ready()
            with pytest.raises(NoReplica):
                await made.dispatch.start(request())

    run(scenario())


def test_those_who_wait_hear_at_once_when_the_last_replica_goes() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            first = busy(made)
            await asyncio.sleep(0.1)
            waiting = asyncio.create_task(tokens(made, request("w", prompt_tokens=20 * 16)))
            await until_waiting(made, 1)
            replica.break_link()
            results = await asyncio.gather(first, waiting, return_exceptions=True)
            assert [type(result) for result in results] == [ReplicaFailed, NoReplica]

    run(scenario())


def test_a_prompt_larger_than_every_replica_is_refused_without_asking_them() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            with pytest.raises(Unservable) as caught:
                await made.dispatch.start(request(prompt_tokens=100 * 16))
            assert caught.value.code == "never_fits"
            assert replica.served == []

    run(scenario())
