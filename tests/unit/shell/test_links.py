"""Requests of many gateways in one engine, stepped by hand."""

from __future__ import annotations

import asyncio

import pytest

from protos.messages import (
    FinishReason,
    RefusalReason,
    ReplicaId,
    Request,
    RequestId,
    StepEvents,
)
from replicas.engine.engine import Engine
from replicas.shell.links import GatewayLink, LinkBroken, LinkFault, Links
from replicas.shell.pace import Pace
from replicas.shell.reporter import Reporter
from tests.unit.shell.counting import answer, counted, engine, request
from tests.unit.shell.eventually import WITHIN_S


class Desk:
    """Links over an engine, and a hand that steps it."""

    def __init__(self, *, messages_max: int = 100) -> None:
        self.engine: Engine = engine()
        self.work = asyncio.Event()
        reporter = Reporter(self.engine, ReplicaId("r-0"), Pace())
        self.links = Links(self.engine, reporter, self.work, messages_max=messages_max)

    def step(self) -> bool:
        plan = self.engine.schedule()
        if plan is not None:
            self.links.deliver(self.engine.apply(counted(plan)))
            self.engine.check()
        return plan is not None

    def finish(self) -> None:
        while self.step():
            pass

    @property
    def blocks_used(self) -> int:
        return self.links.news().snapshot.blocks_used


async def drain(link: GatewayLink) -> list[StepEvents]:
    link.finish()
    events = []
    while (message := await link.get()) is not None:
        events.append(message)
    return events


def tokens_of(events: list[StepEvents], asked: Request, choice: int = 0) -> list[int]:
    """The tokens of one choice, after checking that none is missing or doubled."""
    deltas = [
        delta
        for message in events
        for delta in message.deltas
        if (delta.request_id, delta.choice) == (asked.request_id, choice)
    ]
    tokens: list[int] = []
    for delta in deltas:
        assert delta.first_index == len(tokens)
        tokens += [token.token for token in delta.tokens]
    assert [delta.finish for delta in deltas if delta.finish] == [FinishReason.LENGTH]
    return tokens


async def test_the_first_message_is_a_snapshot() -> None:
    desk = Desk()
    (first,) = await drain(desk.links.attach())
    assert (first.deltas, first.refusals) == ((), ())
    assert first.snapshot.blocks_free == 64


async def test_one_step_is_one_message_with_all_requests_of_a_gateway() -> None:
    desk = Desk()
    link = desk.links.attach()
    asked = [request(name) for name in "abc"]
    for each in asked:
        desk.links.submit(link, each)
    desk.step()
    desk.finish()
    events = await drain(link)
    assert {delta.request_id for delta in events[1].deltas} == {"a", "b", "c"}
    assert len(events) == 1 + 5
    assert [tokens_of(events, each) for each in asked] == [answer(each) for each in asked]


async def test_two_gateways_may_use_the_same_id() -> None:
    desk = Desk()
    one, other = desk.links.attach(), desk.links.attach()
    first, second = request("same", tokens_max=3), request("same", prompt_tokens=9)
    desk.links.submit(one, first)
    desk.links.submit(other, second)
    desk.finish()
    assert tokens_of(await drain(one), first) == answer(first)
    assert tokens_of(await drain(other), second) == answer(second)


async def test_an_id_that_still_runs_on_the_link_is_refused_as_invalid() -> None:
    desk = Desk()
    link = desk.links.attach()
    desk.links.submit(link, request("a"))
    desk.links.submit(link, request("a"))
    desk.finish()
    desk.links.submit(link, request("a"))
    desk.finish()
    refusals = [refusal for events in await drain(link) for refusal in events.refusals]
    assert [(r.request_id, r.reason) for r in refusals] == [("a", RefusalReason.INVALID)]


async def test_a_refusal_names_the_gateways_own_id() -> None:
    desk = Desk()
    link = desk.links.attach()
    desk.links.submit(link, request("long", prompt_tokens=4096))
    _, refused = await drain(link)
    assert refused.refusals[0].request_id == "long"
    assert refused.refusals[0].reason is RefusalReason.CONTEXT_EXCEEDED
    assert not link.requests


async def test_every_choice_finishes_before_its_request_is_forgotten() -> None:
    desk = Desk()
    link = desk.links.attach()
    asked = request("a", choices=3)
    desk.links.submit(link, asked)
    desk.finish()
    events = await drain(link)
    assert [tokens_of(events, asked, choice) for choice in range(3)] == [answer(asked)] * 3
    assert not link.requests


async def test_a_cancelled_request_gives_its_blocks_back_and_is_silent() -> None:
    desk = Desk()
    link = desk.links.attach()
    desk.links.submit(link, request("a"))
    plan = desk.engine.schedule()
    assert plan is not None
    assert desk.blocks_used == 2
    desk.links.cancel(link, RequestId("a"))
    desk.links.submit(link, request("a", tokens_max=1))  # the id is free at once
    desk.links.deliver(desk.engine.apply(counted(plan)))
    assert desk.blocks_used == 0
    desk.finish()
    deltas = [delta for events in await drain(link) for delta in events.deltas]
    assert [delta.first_index for delta in deltas] == [0]  # of the second one only


async def test_a_detached_link_has_nothing_in_the_engine() -> None:
    desk = Desk()
    link, stays = desk.links.attach(), desk.links.attach()
    for name in "ab":
        desk.links.submit(link, request(name))
    kept = request("c")
    desk.links.submit(stays, kept)
    desk.step()
    desk.work.clear()
    desk.links.detach(link)
    desk.links.detach(link)
    assert desk.blocks_used == 2
    assert desk.work.is_set()
    desk.finish()
    assert tokens_of(await drain(stays), kept) == answer(kept)


async def test_cancelling_an_unknown_id_is_nothing() -> None:
    desk = Desk()
    desk.links.cancel(desk.links.attach(), RequestId("finished"))
    assert not desk.work.is_set()


async def test_a_gateway_that_does_not_read_loses_its_link_at_the_bound() -> None:
    desk = Desk(messages_max=4)
    slow, quick = desk.links.attach(), desk.links.attach()
    await quick.get()
    asked = request("a", tokens_max=8)
    desk.links.submit(slow, request("a", tokens_max=8))
    for _ in range(3):
        desk.step()
    assert not slow.is_broken  # a snapshot and three messages: full, not over
    desk.links.submit(quick, asked)
    desk.step()
    assert slow.is_broken
    assert not slow.requests
    with pytest.raises(LinkBroken) as broken:
        await slow.broken()
    assert broken.value.fault is LinkFault.SLOW
    assert desk.blocks_used == 2, "the other gateway's request stays"


async def test_a_failed_replica_breaks_every_link_and_every_later_one() -> None:
    desk = Desk()
    early = desk.links.attach()
    desk.links.fail()
    for link in (early, desk.links.attach()):
        with pytest.raises(LinkBroken, match="the replica failed"):
            await asyncio.wait_for(link.broken(), WITHIN_S)
