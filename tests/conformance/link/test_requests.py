"""Requests share a link's stream, and each is told what concerns it."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.control.seams import ReplicaLost, ReplicaRefused
from protos.messages import Refusal, RefusalReason, RequestId
from tests.conformance.link.world import World, read
from tests.integration.control.data_server import delta, request
from tests.integration.control.until import until


async def test_requests_share_the_stream_and_get_only_their_own_deltas(world: World) -> None:
    client, replica = world.client, world.replica
    one = asyncio.create_task(read(client, request("one")))
    two = asyncio.create_task(read(client, request("two", choices=2)))
    await until(lambda: len(replica.submitted) == 2, "both requests arrived")
    assert {what.request_id for what in replica.submitted} == {"one", "two"}
    replica.send(delta("one", 0), delta("two", 0), delta("two", 0, choice=1, last=True))
    replica.send(delta("two", 1, last=True), delta("one", 1), delta("stranger", 0))
    replica.send(delta("one", 2, last=True))
    assert await one == [delta("one", 0), delta("one", 1), delta("one", 2, last=True)]
    assert len(await two) == 3
    assert replica.attached == 1
    assert replica.cancelled == []


async def test_a_request_arrives_as_it_was_sent(world: World) -> None:
    client, replica = world.client, world.replica
    what = request("r", tokens_max=1)
    reading = asyncio.create_task(read(client, what))
    await until(lambda: replica.submitted, "the request arrived")
    replica.send(delta("r", 0, last=True))
    await reading
    assert replica.submitted == [what]


async def test_a_refusal_ends_its_request_and_no_other(world: World) -> None:
    client, replica = world.client, world.replica
    refused = asyncio.create_task(read(client, request("refused")))
    other = asyncio.create_task(read(client, request("other")))
    await until(lambda: len(replica.submitted) == 2, "both requests arrived")
    refusal = Refusal(RequestId("refused"), RefusalReason.DRAINING, "going away")
    replica.send(refusals=(refusal,))
    with pytest.raises(ReplicaRefused) as caught:
        await refused
    assert caught.value.refusal == refusal
    replica.send(delta("other", 0, last=True))
    assert len(await other) == 1
    assert replica.cancelled == []


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_leaving_early_cancels_at_the_replica(world: World, how: str) -> None:
    client, replica = world.client, world.replica
    deltas = client.submit(request("r"))
    first = asyncio.ensure_future(anext(deltas))
    await until(lambda: replica.submitted, "the request arrived")
    if how == "closed":
        replica.send(delta("r", 0))
        await first
        await deltas.aclose()
    else:
        first.cancel()
    await until(lambda: replica.cancelled == [("r", 0)], "the cancellation arrived")


async def test_a_broken_stream_loses_every_request_at_once_after_what_had_come(
    world: World,
) -> None:
    client, replica = world.client, world.replica
    tasks = [asyncio.create_task(read(client, request(f"{n}"))) for n in range(20)]
    await until(lambda: len(replica.submitted) == 20, "all requests arrived")
    half_read = client.submit(request("half"))
    first = asyncio.ensure_future(anext(half_read))
    await until(lambda: len(replica.submitted) == 21, "one more request arrived")
    replica.send(delta("half", 0))
    assert await first == delta("half", 0)
    replica.end_stream()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [ReplicaLost] * 20
    with pytest.raises(ReplicaLost):
        await anext(half_read)


async def test_an_id_that_is_running_on_the_link_is_refused(world: World) -> None:
    client, replica = world.client, world.replica
    reading = asyncio.create_task(read(client, request("r")))
    await until(lambda: replica.submitted, "the request arrived")
    with pytest.raises(ReplicaRefused):
        await read(client, request("r"))
    replica.send(delta("r", 0, last=True))
    assert len(await reading) == 1


async def test_closing_the_link_loses_its_requests(world: World) -> None:
    client, replica = world.client, world.replica
    reading = asyncio.create_task(read(client, request("r")))
    await until(lambda: replica.submitted, "the request arrived")
    await client.close()
    with pytest.raises(ReplicaLost):
        await reading
