"""Choices leave a replica and come back, each for itself."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.control.seams import ReplicaClient, ReplicaRefused
from protos.identity import request_digest
from protos.messages import Delta, Handoff, Refusal, RefusalReason, ReplicaId, Request, RequestId
from protos.moves import Claim
from tests.conformance.link.world import World, read
from tests.integration.control.data_server import delta, request
from tests.integration.control.until import until


def handoff(name: str, choice: int, *, choices: int = 1, target: str | None = "b") -> Handoff:
    target_id = None if target is None else ReplicaId(target)
    return Handoff(RequestId(name), choice, choices, target_id)


async def adopted(client: ReplicaClient, what: Request, choice: int) -> list[Delta | Handoff]:
    return [event async for event in client.adopt(what, choice=choice, next_index=1)]


async def test_a_choice_ends_here_with_its_handoff_and_its_siblings_go_on(world: World) -> None:
    client, replica = world.client, world.replica
    reading = asyncio.create_task(read(client, request("r", choices=2)))
    await until(lambda: replica.submitted, "the request arrived")
    gone = handoff("r", 0)
    replica.send(delta("r", 0), delta("r", 0, choice=1), handoffs=(gone,))
    replica.send(delta("r", 1, choice=1, last=True))
    assert await reading == [
        delta("r", 0),
        delta("r", 0, choice=1),
        gone,
        delta("r", 1, choice=1, last=True),
    ]
    assert replica.cancelled == []


async def test_a_request_that_did_not_fork_is_handed_back_as_one(world: World) -> None:
    client, replica = world.client, world.replica
    reading = asyncio.create_task(read(client, request("r", choices=3)))
    await until(lambda: replica.submitted, "the request arrived")
    replica.send(handoffs=(handoff("r", 0, choices=3, target=None),))
    assert await reading == [handoff("r", 0, choices=3, target=None)]
    assert replica.cancelled == []


async def test_a_claim_shows_what_was_asked_and_where_to_go_on(world: World) -> None:
    client, replica = world.client, world.replica
    what = request("r", choices=2)
    reading = asyncio.create_task(adopted(client, what, choice=1))
    await until(lambda: replica.claimed, "the claim arrived")
    assert replica.claimed == [Claim(RequestId("r"), 1, request_digest(what), next_index=1)]
    replica.send(delta("r", 1, choice=1), delta("r", 1, choice=0))
    replica.send(delta("r", 2, choice=1, last=True))
    assert len(await reading) == 2


async def test_a_claim_for_what_is_gone_is_refused_and_its_siblings_go_on(world: World) -> None:
    client, replica = world.client, world.replica
    what = request("r", choices=2)
    first = asyncio.create_task(adopted(client, what, choice=0))
    second = asyncio.create_task(adopted(client, what, choice=1))
    await until(lambda: len(replica.claimed) == 2, "the claims arrived")
    refusal = Refusal(RequestId("r"), RefusalReason.GONE, "not here", choice=1)
    replica.send(delta("r", 1, last=True), refusals=(refusal,))
    with pytest.raises(ReplicaRefused) as caught:
        await second
    assert caught.value.refusal == refusal
    assert len(await first) == 1


async def test_a_choice_may_come_back_while_its_sibling_is_still_here(world: World) -> None:
    client, replica = world.client, world.replica
    what = request("r", choices=2)
    events = client.submit(what)
    first = asyncio.ensure_future(anext(events))
    await until(lambda: replica.submitted, "the request arrived")
    replica.send(delta("r", 0), handoffs=(handoff("r", 1),))
    assert [await first, await anext(events)] == [delta("r", 0), handoff("r", 1)]
    back = asyncio.create_task(adopted(client, what, choice=1))
    await until(lambda: replica.claimed, "the claim arrived")
    replica.send(delta("r", 1, last=True), delta("r", 1, choice=1, last=True))
    assert await back == [delta("r", 1, choice=1, last=True)]
    assert [event async for event in events] == [delta("r", 1, last=True)]
    assert replica.cancelled == []


async def test_leaving_early_cancels_every_choice_that_is_still_here(world: World) -> None:
    client, replica = world.client, world.replica
    events = client.submit(request("r", choices=3))
    first = asyncio.ensure_future(anext(events))
    await until(lambda: replica.submitted, "the request arrived")
    replica.send(delta("r", 0), handoffs=(handoff("r", 1),))
    await first
    await anext(events)
    await events.aclose()
    await until(lambda: len(replica.cancelled) == 2, "the cancellations arrived")
    assert replica.cancelled == [("r", 0), ("r", 2)]
