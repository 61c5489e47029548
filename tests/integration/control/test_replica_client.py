"""A gateway's link over real gRPC on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from orchestrator.control.seams import ReplicaLost, ReplicaRefused
from orchestrator.live.replica_client import GrpcReplicaClient, LinkConfig
from protos.identity import request_digest
from protos.messages import Delta, Handoff, Refusal, RefusalReason, ReplicaId, Request, RequestId
from protos.moves import Claim
from tests.integration.control.data_server import DataServer, delta, request, serving
from tests.integration.control.until import until, until_true

PATIENT = LinkConfig(silence_s_max=30.0, retry_s_first=0.01, retry_s_max=0.05)


@asynccontextmanager
async def linked(
    server: DataServer, config: LinkConfig = PATIENT
) -> AsyncIterator[GrpcReplicaClient]:
    client = GrpcReplicaClient(server.record, lambda: None, config)
    try:
        await until(lambda: client.snapshot() is not None, "the link is up")
        yield client
    finally:
        await client.close()


async def read(client: GrpcReplicaClient, what: Request) -> list[Delta | Handoff]:
    return [delta async for delta in client.submit(what)]


async def test_the_first_report_arrives_without_a_request() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        snapshot = client.snapshot()
        assert snapshot is not None
        assert snapshot.replica_id == "a"
        assert server.attached == 1


async def test_every_report_is_told() -> None:
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1

    async with serving(DataServer()) as server:
        client = GrpcReplicaClient(server.record, count, PATIENT)
        await until(lambda: seen >= 3, "three reports")
        await client.close()
        assert client.snapshot() is None


async def test_requests_share_the_stream_and_get_only_their_own_deltas() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        one = asyncio.create_task(read(client, request("one")))
        two = asyncio.create_task(read(client, request("two", choices=2)))
        await until(lambda: len(server.submitted) == 2, "both requests arrived")
        assert {what.request_id for what in server.submitted} == {"one", "two"}
        server.send(delta("one", 0), delta("two", 0), delta("two", 0, choice=1, last=True))
        server.send(delta("two", 1, last=True), delta("one", 1), delta("stranger", 0))
        server.send(delta("one", 2, last=True))
        assert await one == [delta("one", 0), delta("one", 1), delta("one", 2, last=True)]
        assert len(await two) == 3
        assert server.attached == 1
        assert server.cancelled == []


async def test_a_request_arrives_as_it_was_sent() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        what = request("r", tokens_max=1)
        reading = asyncio.create_task(read(client, what))
        await until(lambda: server.submitted, "the request arrived")
        server.send(delta("r", 0, last=True))
        await reading
        assert server.submitted == [what]


async def test_a_refusal_ends_its_request_and_no_other() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        refused = asyncio.create_task(read(client, request("refused")))
        other = asyncio.create_task(read(client, request("other")))
        await until(lambda: len(server.submitted) == 2, "both requests arrived")
        refusal = Refusal(RequestId("refused"), RefusalReason.DRAINING, "going away")
        server.send(refusals=(refusal,))
        with pytest.raises(ReplicaRefused) as caught:
            await refused
        assert caught.value.refusal == refusal
        server.send(delta("other", 0, last=True))
        assert len(await other) == 1
        assert server.cancelled == []


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_leaving_early_cancels_at_the_replica(how: str) -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        deltas = client.submit(request("r"))
        first = asyncio.ensure_future(anext(deltas))
        await until(lambda: server.submitted, "the request arrived")
        if how == "closed":
            server.send(delta("r", 0))
            await first
            await deltas.aclose()
        else:
            first.cancel()
        await until(lambda: server.cancelled == [("r", 0)], "the cancellation arrived")


async def test_a_broken_stream_loses_every_request_at_once_after_what_had_come() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        tasks = [asyncio.create_task(read(client, request(f"{n}"))) for n in range(20)]
        await until(lambda: len(server.submitted) == 20, "all requests arrived")
        half_read = client.submit(request("half"))
        first = asyncio.ensure_future(anext(half_read))
        await until(lambda: len(server.submitted) == 21, "one more request arrived")
        server.send(delta("half", 0))
        assert await first == delta("half", 0)
        server.end_stream()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [ReplicaLost] * 20
        with pytest.raises(ReplicaLost):
            await anext(half_read)


async def test_a_link_that_is_down_says_so_and_takes_nothing() -> None:
    server = DataServer()
    async with serving(server):
        client = GrpcReplicaClient(server.record, lambda: None, PATIENT)
        await until(lambda: client.snapshot() is not None, "the link is up")
    await until(lambda: client.snapshot() is None, "the link is down")
    with pytest.raises(ReplicaLost):
        await read(client, request("r"))
    port = int(server.address.rpartition(":")[2])
    async with serving(server, port):
        await until(lambda: client.snapshot() is not None, "the link is up again")
        reading = asyncio.create_task(read(client, request("r")))
        await until(lambda: server.submitted, "the request arrived")
        server.send(delta("r", 0, last=True))
        assert len(await reading) == 1
        await client.close()


async def test_a_silent_replica_is_lost_after_a_stated_time() -> None:
    """The process is there and its socket is open, but it says nothing any more."""
    server = DataServer()
    server.reports_interval_s = 600.0
    config = LinkConfig(silence_s_max=0.5, retry_s_first=600.0)
    async with serving(server), linked(server, config) as client:
        with pytest.raises(ReplicaLost):
            await read(client, request("r"))
        assert client.snapshot() is None


async def test_a_reader_that_is_too_slow_loses_its_request_and_no_other() -> None:
    config = LinkConfig(silence_s_max=30.0, inbox_deltas_max=10)
    async with serving(DataServer()) as server, linked(server, config) as client:
        slow, other = client.submit(request("slow", tokens_max=99)), client.submit(request("other"))
        first = asyncio.ensure_future(anext(slow))
        await until(lambda: server.submitted, "the request arrived")
        server.send(delta("slow", 0))
        await first
        reading = asyncio.ensure_future(anext(other))
        await until(lambda: len(server.submitted) == 2, "the other request arrived")
        server.send(*(delta("slow", index) for index in range(1, 50)))
        server.send(delta("other", 0))
        assert await reading == delta("other", 0)
        seen = []
        with pytest.raises(ReplicaLost):
            async for item in slow:
                assert isinstance(item, Delta)
                seen.append(item.first_index)
        assert seen == list(range(1, 11))
        await until(lambda: server.cancelled == [("slow", 0)], "the slow request was cancelled")
        await other.aclose()


async def test_an_id_that_is_running_on_the_link_is_refused() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        reading = asyncio.create_task(read(client, request("r")))
        await until(lambda: server.submitted, "the request arrived")
        with pytest.raises(ReplicaRefused):
            await read(client, request("r"))
        server.send(delta("r", 0, last=True))
        assert len(await reading) == 1


async def test_a_bound_on_requests_refuses_so_that_another_replica_is_tried() -> None:
    config = LinkConfig(silence_s_max=30.0, choices_max=1)
    async with serving(DataServer()) as server, linked(server, config) as client:
        reading = asyncio.create_task(read(client, request("one")))
        await until(lambda: server.submitted, "the request arrived")
        with pytest.raises(ReplicaRefused) as caught:
            await read(client, request("two"))
        assert caught.value.refusal.reason is RefusalReason.QUEUE_FULL
        server.send(delta("one", 0, last=True))
        await reading


async def test_a_replica_that_reports_but_does_not_read_is_lost_at_a_bound() -> None:
    """Its clients come and go: only cancelled requests pile up in the outbox."""
    config = replace(PATIENT, choices_max=4)
    server = DataServer()
    server.reads.clear()
    async with serving(server), linked(server, config) as client:
        waiting = asyncio.create_task(read(client, request("waits")))

        async def come_and_go() -> bool:
            prompt = (1,) * 100_000  # more than what the transport buffers, soon
            visit = asyncio.create_task(read(client, request("goes", prompt=prompt)))
            await asyncio.sleep(0)
            visit.cancel()
            await asyncio.gather(visit, return_exceptions=True)
            return waiting.done()

        await until_true(come_and_go, "the link was broken")
        with pytest.raises(ReplicaLost):
            await waiting
        server.reads.set()
        await until(lambda: server.attached == 2 and client.snapshot(), "the link is up again")
        server.submitted.clear()
        reading = asyncio.create_task(read(client, request("r")))
        await until(lambda: server.submitted, "the request arrived")
        server.send(delta("r", 0, last=True))
        assert len(await reading) == 1


async def test_closing_the_link_loses_its_requests() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        reading = asyncio.create_task(read(client, request("r")))
        await until(lambda: server.submitted, "the request arrived")
        await client.close()
        with pytest.raises(ReplicaLost):
            await reading


# ---- choices that move


def handoff(name: str, choice: int, *, choices: int = 1, target: str | None = "b") -> Handoff:
    target_id = None if target is None else ReplicaId(target)
    return Handoff(RequestId(name), choice, choices, target_id)


async def adopted(client: GrpcReplicaClient, what: Request, choice: int) -> list[Delta | Handoff]:
    return [event async for event in client.adopt(what, choice=choice, next_index=1)]


async def test_a_choice_ends_here_with_its_handoff_and_its_siblings_go_on() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        reading = asyncio.create_task(read(client, request("r", choices=2)))
        await until(lambda: server.submitted, "the request arrived")
        gone = handoff("r", 0)
        server.send(delta("r", 0), delta("r", 0, choice=1), handoffs=(gone,))
        server.send(delta("r", 1, choice=1, last=True))
        assert await reading == [
            delta("r", 0),
            delta("r", 0, choice=1),
            gone,
            delta("r", 1, choice=1, last=True),
        ]
        assert server.cancelled == []


async def test_a_request_that_did_not_fork_is_handed_back_as_one() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        reading = asyncio.create_task(read(client, request("r", choices=3)))
        await until(lambda: server.submitted, "the request arrived")
        server.send(handoffs=(handoff("r", 0, choices=3, target=None),))
        assert await reading == [handoff("r", 0, choices=3, target=None)]
        assert server.cancelled == []


async def test_a_claim_shows_what_was_asked_and_where_to_go_on() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        what = request("r", choices=2)
        reading = asyncio.create_task(adopted(client, what, choice=1))
        await until(lambda: server.claimed, "the claim arrived")
        assert server.claimed == [Claim(RequestId("r"), 1, request_digest(what), next_index=1)]
        server.send(delta("r", 1, choice=1), delta("r", 1, choice=0))
        server.send(delta("r", 2, choice=1, last=True))
        assert len(await reading) == 2


async def test_a_claim_for_what_is_gone_is_refused_and_its_siblings_go_on() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        what = request("r", choices=2)
        first = asyncio.create_task(adopted(client, what, choice=0))
        second = asyncio.create_task(adopted(client, what, choice=1))
        await until(lambda: len(server.claimed) == 2, "the claims arrived")
        refusal = Refusal(RequestId("r"), RefusalReason.GONE, "not here", choice=1)
        server.send(delta("r", 1, last=True), refusals=(refusal,))
        with pytest.raises(ReplicaRefused) as caught:
            await second
        assert caught.value.refusal == refusal
        assert len(await first) == 1


async def test_a_choice_may_come_back_while_its_sibling_is_still_here() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        what = request("r", choices=2)
        events = client.submit(what)
        first = asyncio.ensure_future(anext(events))
        await until(lambda: server.submitted, "the request arrived")
        server.send(delta("r", 0), handoffs=(handoff("r", 1),))
        assert [await first, await anext(events)] == [delta("r", 0), handoff("r", 1)]
        back = asyncio.create_task(adopted(client, what, choice=1))
        await until(lambda: server.claimed, "the claim arrived")
        server.send(delta("r", 1, last=True), delta("r", 1, choice=1, last=True))
        assert await back == [delta("r", 1, choice=1, last=True)]
        assert [event async for event in events] == [delta("r", 1, last=True)]
        assert server.cancelled == []


async def test_leaving_early_cancels_every_choice_that_is_still_here() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        events = client.submit(request("r", choices=3))
        first = asyncio.ensure_future(anext(events))
        await until(lambda: server.submitted, "the request arrived")
        server.send(delta("r", 0), handoffs=(handoff("r", 1),))
        await first
        await anext(events)
        await events.aclose()
        await until(lambda: len(server.cancelled) == 2, "the cancellations arrived")
        assert server.cancelled == [("r", 0), ("r", 2)]


async def given_up_claim(client: GrpcReplicaClient, server: DataServer, what: Request) -> None:
    """Its client leaves before the replica has answered."""
    claims = len(server.claimed)
    claim = asyncio.ensure_future(anext(client.adopt(what, choice=0, next_index=0)))
    await until(lambda: len(server.claimed) > claims, "the claim arrived")
    claim.cancel()
    await asyncio.gather(claim, return_exceptions=True)


async def test_the_answer_to_a_claim_that_was_given_up_is_not_taken_for_that_of_the_next() -> None:
    """Claims are given up when a search takes too long; then the request is sent anew."""
    async with serving(DataServer()) as server, linked(server) as client:
        await given_up_claim(client, server, request("one"))
        await given_up_claim(client, server, request("one"))
        running = asyncio.create_task(read(client, request("one")))
        await until(lambda: len(server.submitted) == 1, "the request arrived")
        gone = Refusal(RequestId("one"), RefusalReason.GONE, "not here", 0)
        server.send(refusals=(gone,))
        server.send(delta("one", 0))  # the second claim has found it
        server.send(delta("one", 1), delta("one", 2))  # before it was told to stop
        server.send(delta("one", 0), delta("one", 1, last=True))
        assert await running == [delta("one", 0), delta("one", 1, last=True)]


async def test_a_claim_that_was_answered_leaves_nothing_to_wait_for() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        claimed = client.adopt(request("one"), choice=0, next_index=0)
        first = asyncio.ensure_future(anext(claimed))
        await until(lambda: len(server.claimed) == 1, "the claim arrived")
        server.send(delta("one", 0))
        assert await first == delta("one", 0)
        await claimed.aclose()
        running = asyncio.create_task(read(client, request("one")))
        await until(lambda: len(server.submitted) == 1, "the request arrived")
        server.send(delta("one", 1))  # of the claim still
        server.send(delta("one", 0, last=True))
        assert await running == [delta("one", 0, last=True)]
