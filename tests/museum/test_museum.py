"""The museum: failures that others had in the field, and that must not happen here.

One test for each case that no other test shows as itself; the README beside
this file names the test of every case. Each drives what runs in production at
the lowest level where the failure can live, and fails when its guard is taken
away.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestrator.gateway.totals import AdoptionEnd
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.identity import request_digest
from protos.messages import RefusalReason, ReplicaId
from protos.moves import Claim, MoveOutcome
from replicas.engine.export import ExportState
from replicas.model.grammar import Grammars
from tests.museum.client import Client
from tests.museum.plane import Plane
from tests.unit.dispatch import world as gateway
from tests.unit.dispatch.answers import answer as answer_of
from tests.unit.dispatch.answers import whole
from tests.unit.dispatch.virtual_time import run as in_virtual_time
from tests.unit.engine import driver
from tests.unit.engine.driver import A, B, C
from tests.unit.gateway.test_openai import chat
from tests.unit.gateway.test_openai import complete as completion
from tests.unit.model.test_grammar import AS_SCHEMA, BYTES, complete
from tests.unit.moves.pair import LIMITS, ends
from tests.unit.shell.counting import answer, request
from tests.unit.shell.desk import Desk, drain, tokens_of, unread
from tests.unit.shell.eventually import eventually
from tests.unit.shell.test_membership import LEASE_MS, RECORD, Place

LONG = 3900  # tokens, far more than are waited for

# ---- 3: preemption cannot free what is still being sent, so it preempts again and again


def test_03_preemption_does_not_loop_while_moves_hold_blocks() -> None:
    """B gives way once, waits without a step while A's blocks are read, and goes on after it."""
    subject = driver.engine(blocks=4)
    subject.submit(driver.request(A, prompt=7, tokens_max=8))
    subject.submit(driver.request(B, prompt=(9,) * 4, tokens_max=9))
    driver.step(subject)
    export = subject.export(A, 0)
    assert export is not None
    export.freeze()
    while (plan := subject.schedule()) is not None:
        subject.apply(driver.outcome(plan))
    for _ in range(100):
        assert subject.schedule() is None
        subject.check()
    assert driver.report(subject).counters.preemptions == 1
    export.complete()
    assert [delta.request_id for delta in driver.run(subject) if delta.finish] == [B]
    assert driver.report(subject).counters.preemptions == 1


def test_03_a_preempted_sequence_is_no_longer_sent() -> None:
    """A came later and gives way to B in the middle of its move: the move is over, once."""
    subject = driver.engine(blocks=4)
    subject.submit(driver.request(B, prompt=(9,) * 4, tokens_max=9))
    subject.submit(driver.request(A, prompt=7, tokens_max=8))
    driver.step(subject)
    export = subject.export(A, 0)
    assert export is not None
    export.freeze()
    assert [delta.request_id for delta in driver.run(subject) if delta.finish] == [B, A]
    assert export.state is ExportState.GONE
    assert driver.report(subject).counters.preemptions == 1


# ---- 9: a request sent to a replica that leaves hangs for ever


@pytest.mark.parametrize(
    "leaving",
    [
        gateway.Answer(refusal=RefusalReason.DRAINING),
        gateway.Answer(lost_before=0, dies=True),
        gateway.Answer(ends_before=0),
        gateway.Answer(leaves=(gateway.Leave(before=0),)),
    ],
    ids=["says so", "is gone", "ends the stream", "hands it back"],
)
def test_09_a_request_sent_to_a_leaving_replica_goes_elsewhere(leaving: gateway.Answer) -> None:
    """The gateway knew nothing yet: its last report and the prefix both spoke for the replica."""

    async def scenario() -> None:
        first, second = gateway.ScriptedReplica("a", leaving), gateway.ScriptedReplica("b")
        async with gateway.tidy(first, second) as made:
            what = gateway.request()
            await made.hold("a", what.prompt)
            assert await answer_of(made, what) == whole(what)
            assert (len(first.asked), len(second.asked)) == (1, 1)
            assert asyncio.get_running_loop().time() < 1

    in_virtual_time(scenario())


# ---- 13: a tenant's salt is lost on one path, and strangers find its prefixes


def test_13_a_tenants_salt_comes_through_every_http_door() -> None:
    assert chat(cache_salt="mine").salt == b"mine"
    assert completion(cache_salt="mine").salt == b"mine"


# ---- 14: a lease ends in the middle of a transfer, and what was sent is gone


async def test_14_a_lease_that_ends_inside_a_move_loses_nothing() -> None:
    """The target holds room for a source that is too slow for it, and gives it to another."""
    limits = replace(LIMITS, bytes_per_s=40, silence_ms_max=200)
    async with ends("a", "b", limits=limits) as [a, b]:
        a.executor.step_s = 0.001  # its answer does not end meanwhile
        client = Client([a, b])
        slow, other = request("slow", prompt_tokens=80, tokens_max=LONG), request("other")
        client.ask(slow)
        a.order("m", await a.sequence(), b.peer)
        await eventually(lambda: b.blocks_used > 0, "there is room")
        await eventually(lambda: b.blocks_used == 0, "the room is given back")
        b.submit(other)
        [report] = await a.reports()
        assert report.outcome is MoveOutcome.LOST, report
        assert report.blocks_sent > 0
        [kept] = a.links.sequences(9)
        assert kept.is_movable, "it may be sent again"
        await eventually(lambda: b.engine.is_idle, "the other one is answered")
        assert tokens_of(list(unread(b.link)), other) == answer(other)
        await client.goes_on(slow)
        assert client.adoptions == 0


# ---- 15: the registry fails over to an empty one, and nobody's prefixes are found any more


async def test_15_a_registry_that_lost_everything_is_filled_again() -> None:
    place = Place()
    async with place.kept():
        place.store(1, 2, 3)
        await place.is_told("before")
        empty = MemoryRegistry(lambda: place.registry.now_ns, RegistryConfig(lease_ms=LEASE_MS))
        await empty.join(replace(RECORD, replica_id=ReplicaId("who came first")))
        place.registry.memory = empty
        assert await place.located() == 0
        await place.is_told("all it held, though nothing changed")
        place.store(4)
        await place.is_told("what follows")
    assert len(place.registry.epochs) == 2


# ---- 16: a gateway restarts, and every stream that it followed is cut


@pytest.mark.parametrize("heard", range(6))
async def test_16_a_restarted_gateway_truncates_no_stream(heard: int) -> None:
    """Its successor claims what the replica went on with, from the last token that was heard."""
    desk = Desk()
    asked = request("a", tokens_max=8)
    link = desk.links.attach()
    desk.links.submit(link, asked)
    for _ in range(heard):
        desk.step()
    desk.links.detach(link, park=True)
    desk.step()
    successor = desk.links.attach()
    desk.links.adopt(successor, Claim(asked.request_id, 0, request_digest(asked), heard))
    desk.finish()
    rest = tokens_of(await drain(successor), asked, first_index=heard)
    assert answer(asked)[:heard] + rest == answer(asked)


def test_16_the_successor_finds_the_stream_or_computes_it_again() -> None:
    async def scenario() -> None:
        replicas = [gateway.ScriptedReplica(name) for name in "ab"]
        async with gateway.tidy(*replicas) as made:
            what = gateway.request(tokens_max=6, choices=2)
            replicas[1].parked[what.request_id, 1] = 3  # and choice 0 is nowhere any more
            said: dict[int, list[int]] = {0: [], 1: []}
            async with await made.dispatch.take_over(
                what, gateway.CARD, finished=frozenset()
            ) as stream:
                async for delta in stream:
                    said[delta.choice] += [sampled.token for sampled in delta.tokens]
            assert said == whole(what)
            assert made.dispatch.totals.takeovers == {AdoptionEnd.ADOPTED: 1, AdoptionEnd.GONE: 1}

    in_virtual_time(scenario())


# ---- 17: a replica is scaled away under its streams


async def test_17_a_replica_that_is_scaled_away_gives_its_streams_away() -> None:
    async with ends("a", "b") as [a, b]:
        client = Client([a, b])
        asked = [request(f"r{number}", prompt_tokens=40, tokens_max=LONG) for number in range(4)]
        client.ask(*asked)
        await eventually(lambda: all(client.said(each) for each in asked), "all have begun")
        plane = Plane([a, b])
        plane.drain(a.peer.replica_id)
        await plane.until(lambda: a.engine.is_idle, "it is empty")
        assert not a.links.sequences(9) and a.blocks_used == 0
        assert all(len(client.said(each)) < LONG for each in asked), "they ran out by themselves"
        for each in asked:
            await client.goes_on(each)
        assert client.adoptions == len(asked)


# ---- 18: a preempted request goes to the end of the line


def test_18_a_preempted_sequence_keeps_its_place() -> None:
    """C waits when B is preempted, wants less and would fit at once: B goes on before it."""
    subject = driver.engine(blocks=4, sequences=2)
    subject.submit(driver.request(A, prompt=(9,) * 7, tokens_max=5))
    subject.submit(driver.request(B, prompt=7, tokens_max=6))
    subject.submit(driver.request(C, prompt=(5,), tokens_max=1))
    told = driver.step(subject)
    while not driver.report(subject).counters.preemptions:
        told = driver.step(subject)
    order = [delta.request_id for delta in (*told, *driver.run(subject))]
    assert order.index(B) < order.index(C)
    assert order.index(C) > len(order) - 1 - order[::-1].index(A), "C waited as long as B"


# ---- 19: a request is replayed, and its grammar begins anew


@pytest.mark.parametrize("said", range(0, 24, 4))
def test_19_a_grammar_goes_on_where_it_was(said: int) -> None:
    whole_text = complete(Grammars(lambda: BYTES), AS_SCHEMA, seed=11)
    begun = tuple(whole_text[:said])
    elsewhere = Grammars(lambda: BYTES)  # another replica, which never saw the beginning
    assert complete(elsewhere, AS_SCHEMA, seed=11, output=begun) == whole_text
