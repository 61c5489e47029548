"""Requests of many gateways in one engine, stepped by hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from protos.messages import RefusalReason, RequestId
from replicas.shell.link import LinkBroken, LinkFault
from tests.unit.shell.counting import CONFIG, answer, counted, request
from tests.unit.shell.desk import Desk, drain, tokens_of
from tests.unit.shell.eventually import WITHIN_S


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


async def test_choices_of_one_request_may_run_on_the_link_apart_but_not_twice() -> None:
    desk = Desk()
    link = desk.links.attach()
    asked = request("a", tokens_max=3)
    parts = [replace(asked, first_choice=1, choices=2), replace(asked, first_choice=4)]
    for part in parts:
        desk.links.submit(link, part)
    desk.links.submit(link, replace(asked, first_choice=0, choices=2))
    desk.finish()
    events = await drain(link)
    assert [tokens_of(events, asked, choice) for choice in (1, 2, 4)] == [answer(asked)] * 3
    refusals = [refusal for message in events for refusal in message.refusals]
    assert [(r.choice, r.reason) for r in refusals] == [(0, RefusalReason.INVALID)]


async def test_a_cancellation_ends_its_submission_and_no_other_one_of_the_id() -> None:
    desk = Desk()
    link = desk.links.attach()
    asked = request("a")
    desk.links.submit(link, replace(asked, choices=2))
    desk.links.submit(link, replace(asked, first_choice=2))
    desk.step()
    desk.links.cancel(link, RequestId("a"), 1)
    desk.finish()
    events = await drain(link)
    assert tokens_of(events, asked, 2) == answer(asked)
    assert max(len(message.deltas) for message in events[2:]) == 1


async def test_a_refusal_names_the_gateways_own_id() -> None:
    desk = Desk()
    link = desk.links.attach()
    desk.links.submit(link, replace(request("long", prompt_tokens=4096), first_choice=3))
    _, refused = await drain(link)
    assert (refused.refusals[0].request_id, refused.refusals[0].choice) == ("long", 3)
    assert refused.refusals[0].reason is RefusalReason.CONTEXT_EXCEEDED
    assert not link.tickets()


async def test_what_waits_beyond_its_deadline_is_refused_under_the_gateways_own_id() -> None:
    """The other one has begun, and goes on although it is late."""
    desk = Desk()
    link = desk.links.attach()
    begun = request("begun")
    desk.links.submit(link, replace(begun, deadline_ms=0))
    desk.step()
    desk.links.submit(link, replace(request("late"), first_choice=2, choices=2, deadline_ms=0))
    desk.links.submit(link, replace(request("soon"), deadline_ms=60_000))
    desk.links.give_up()
    assert {ticket.request_id for ticket in link.tickets()} == {"begun", "soon"}
    desk.finish()
    events = await drain(link)
    refusals = [refusal for message in events for refusal in message.refusals]
    assert [(r.request_id, r.choice, r.reason) for r in refusals] == [
        ("late", 2, RefusalReason.OVERDUE)
    ]
    assert tokens_of(events, begun) == answer(begun)


async def test_what_nobody_follows_is_given_up_in_silence() -> None:
    desk = Desk()
    link = desk.links.attach()
    desk.links.submit(link, replace(request("late"), deadline_ms=0))
    desk.links.detach(link, park=True)
    assert desk.links.parked == 1
    desk.links.give_up()
    assert desk.links.parked == 0
    assert desk.engine.is_idle


async def test_every_choice_finishes_before_its_request_is_forgotten() -> None:
    desk = Desk()
    link = desk.links.attach()
    asked = request("a", choices=3)
    desk.links.submit(link, asked)
    desk.finish()
    events = await drain(link)
    assert [tokens_of(events, asked, choice) for choice in range(3)] == [answer(asked)] * 3
    assert not link.tickets()


async def test_a_cancelled_request_gives_its_blocks_back_and_is_silent() -> None:
    desk = Desk()
    link = desk.links.attach()
    desk.links.submit(link, request("a"))
    plan = desk.engine.schedule()
    assert plan is not None
    assert desk.blocks_used == 2
    desk.links.cancel(link, RequestId("a"), 0)
    desk.links.submit(link, request("a", tokens_max=1))  # the id is free at once
    desk.links.deliver(desk.engine.apply(counted(plan)))
    assert desk.blocks_used == 0
    desk.finish()
    deltas = [delta for events in await drain(link) for delta in events.deltas]
    assert [delta.first_index for delta in deltas] == [0]  # of the second one only


async def test_a_link_that_is_not_to_be_parked_leaves_nothing_in_the_engine() -> None:
    desk = Desk()
    link, stays = desk.links.attach(), desk.links.attach()
    for name in "ab":
        desk.links.submit(link, request(name))
    kept = request("c")
    desk.links.submit(stays, kept)
    desk.step()
    desk.work.clear()
    desk.links.detach(link, park=False)
    desk.links.detach(link, park=False)
    assert desk.blocks_used == 2
    assert desk.work.is_set()
    desk.finish()
    assert tokens_of(await drain(stays), kept) == answer(kept)


async def test_cancelling_an_unknown_id_is_nothing() -> None:
    desk = Desk()
    desk.links.cancel(desk.links.attach(), RequestId("finished"), 0)
    assert not desk.work.is_set()


async def test_a_gateway_that_does_not_read_loses_its_link_at_the_bound() -> None:
    desk = Desk(replace(CONFIG, link_messages_max=4))
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
    assert not slow.tickets()
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
