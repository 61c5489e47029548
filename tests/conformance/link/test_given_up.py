"""What was given up and asked for again is not mixed up with what was said before."""

from __future__ import annotations

import asyncio

from orchestrator.control.seams import ReplicaClient
from protos.messages import Refusal, RefusalReason, Request, RequestId
from tests.conformance.link.world import Replica, World, read
from tests.integration.control.data_server import delta, request
from tests.integration.control.until import until


async def given_up_claim(client: ReplicaClient, replica: Replica, what: Request) -> None:
    """Its client leaves before the replica has answered."""
    claims = len(replica.claimed)
    claim = asyncio.ensure_future(anext(client.adopt(what, choice=0, next_index=0)))
    await until(lambda: len(replica.claimed) > claims, "the claim arrived")
    claim.cancel()
    await asyncio.gather(claim, return_exceptions=True)


async def test_the_answer_to_a_claim_that_was_given_up_is_not_taken_for_that_of_the_next(
    world: World,
) -> None:
    """Claims are given up when a search takes too long; then the request is sent anew."""
    client, replica = world.client, world.replica
    await given_up_claim(client, replica, request("one"))
    await given_up_claim(client, replica, request("one"))
    running = asyncio.create_task(read(client, request("one")))
    await until(lambda: len(replica.submitted) == 1, "the request arrived")
    gone = Refusal(RequestId("one"), RefusalReason.GONE, "not here", 0)
    replica.send(refusals=(gone,))
    replica.send(delta("one", 0))  # the second claim has found it
    replica.send(delta("one", 1), delta("one", 2))  # before it was told to stop
    replica.send(delta("one", 0), delta("one", 1, last=True))
    assert await running == [delta("one", 0), delta("one", 1, last=True)]


async def test_a_claim_that_was_answered_leaves_nothing_to_wait_for(world: World) -> None:
    client, replica = world.client, world.replica
    claimed = client.adopt(request("one"), choice=0, next_index=0)
    first = asyncio.ensure_future(anext(claimed))
    await until(lambda: len(replica.claimed) == 1, "the claim arrived")
    replica.send(delta("one", 0))
    assert await first == delta("one", 0)
    await claimed.aclose()
    running = asyncio.create_task(read(client, request("one")))
    await until(lambda: len(replica.submitted) == 1, "the request arrived")
    replica.send(delta("one", 1))  # of the claim still
    replica.send(delta("one", 0, last=True))
    assert await running == [delta("one", 0, last=True)]


async def test_a_gateway_that_leaves_lets_its_choices_wait_for_another(world: World) -> None:
    client, replica = world.client, world.replica
    reading = client.submit(request("one"))
    first = asyncio.ensure_future(anext(reading))
    await until(lambda: len(replica.submitted) == 1, "the request arrived")
    replica.send(delta("one", 0))
    await first
    client.let_go()
    await reading.aclose()
    later = asyncio.create_task(read(client, request("two")))
    await until(lambda: len(replica.submitted) == 2, "what was sent after it arrived")
    assert replica.cancelled == [], "messages come in order, and no end of the first was among them"
    replica.send(delta("one", 1), delta("two", 0, last=True))
    assert await later == [delta("two", 0, last=True)], "and nobody hears of the first"
