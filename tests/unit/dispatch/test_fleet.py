"""Who is in the fleet, as leases end, links break and the registry comes and goes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.gateway.own_model import OwnModel
from protos.messages import ReplicaId
from protos.registry import Member, RegistryUnavailable, ReplicaRecord
from tests.unit.dispatch.virtual_time import run
from tests.unit.dispatch.world import CARD, ScriptedReplica, World, world

REFRESHED_S = 0.3  # a refresh interval and some
A = ReplicaId("a")


def names(made: World) -> list[str]:
    return [str(replica.replica_id) for replica in made.fleet.view().accepting]


def test_a_replica_that_joins_is_found_and_one_that_leaves_is_let_go() -> None:
    async def scenario() -> None:
        late = ScriptedReplica("b")
        async with world(ScriptedReplica("a"), late) as made:
            await made.registry.leave(made.memberships["b"])
            late.break_link()
            await asyncio.sleep(REFRESHED_S)
            assert names(made) == ["a"]
            assert late.closed == 1
            late.is_up = True
            await made.join(late)
            await asyncio.sleep(REFRESHED_S)
            assert names(made) == ["a", "b"]

    run(scenario())


def test_a_gateway_that_starts_meets_who_is_listed_and_waits_no_longer_for_the_silent() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        late = ScriptedReplica("b")
        async with world(ScriptedReplica("a"), late) as made:
            began = loop.time()
            await made.fleet.meet(5.0)
            assert loop.time() == began
            late.break_link()
            loop.call_later(1.0, speak, late)
            await made.fleet.meet(5.0)
            assert 1.0 <= loop.time() - began < 1.1
            late.break_link()
            await made.fleet.meet(5.0)
            assert 5.9 < loop.time() - began < 6.2

    run(scenario())


def speak(replica: ScriptedReplica) -> None:
    replica.is_up = True
    replica.report()


def test_a_new_epoch_at_the_same_address_keeps_the_link() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with world(replica) as made:
            link = made.fleet.client(A)
            await made.join(replica)
            await asyncio.sleep(REFRESHED_S)
            assert names(made) == ["a"]
            assert made.fleet.view().replicas[0].epoch == replica.epoch == 2
            assert made.fleet.client(A) is link
            assert replica.closed == 0

    run(scenario())


def test_a_replica_at_another_address_gets_a_link_of_its_own() -> None:
    async def scenario() -> None:
        old, new = ScriptedReplica("a"), ScriptedReplica("a")
        new.record = replace(new.record, address="elsewhere:1")
        async with world(old) as made:
            made.links["a"] = new
            await made.join(new)
            await asyncio.sleep(REFRESHED_S)
            assert made.fleet.client(A) is new
            assert old.closed == 0  # it may still stream
            old.break_link()
            await asyncio.sleep(REFRESHED_S)
            assert old.closed == 1
            assert names(made) == ["a"]

    run(scenario())


def test_a_lost_lease_with_a_live_link_is_forgiven_for_a_while() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with world(replica) as made:
            await made.registry.leave(made.memberships["a"])
            await asyncio.sleep(4.5)
            assert names(made) == ["a"]
            await asyncio.sleep(1)
            assert names(made) == []
            assert replica.closed == 0
            await made.join(replica)
            await asyncio.sleep(REFRESHED_S)
            assert names(made) == ["a"]

    run(scenario())


def test_without_the_registry_the_last_members_stay_while_their_links_live() -> None:
    async def scenario() -> None:
        a, b = ScriptedReplica("a"), ScriptedReplica("b")
        async with world(a, b) as made:
            made.registry.is_down = True
            b.break_link()
            await asyncio.sleep(60)
            assert names(made) == ["a"]
            b.is_up = True
            b.report()
            assert names(made) == ["a", "b"]

    run(scenario())


def test_a_broken_link_takes_its_replica_out_at_once() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with world(replica) as made:
            replica.break_link()
            assert names(made) == []
            replica.is_up = True
            replica.report()
            assert names(made) == ["a"]

    run(scenario())


def test_another_process_at_a_replicas_address_is_not_taken_for_it() -> None:
    async def scenario() -> None:
        stranger = ScriptedReplica("stranger")
        async with world() as made:
            made.links["a"] = stranger
            await made.registry.join(ReplicaRecord(A, "a:1", CARD, 100))
            await asyncio.sleep(REFRESHED_S)
            assert made.fleet.client(A) is stranger
            assert names(made) == []

    run(scenario())


def test_a_replica_of_another_model_is_left_out_even_when_its_id_comes_first() -> None:
    async def scenario() -> None:
        other = ScriptedReplica("a")
        other.record = replace(other.record, card=replace(CARD, name="another"))
        update = ScriptedReplica("z")
        update.record = replace(update.record, card=replace(CARD, revision="r2"))
        async with world(ScriptedReplica("m")) as made:
            made.links |= {"a": other, "z": update}
            await made.join(other)
            await made.join(update)
            await asyncio.sleep(REFRESHED_S)
            assert names(made) == ["m", "z"]
            assert made.fleet.card() == CARD

    run(scenario())


def test_stopping_closes_every_link() -> None:
    async def scenario() -> None:
        replicas = [ScriptedReplica(name) for name in "abc"]
        async with world(*replicas):
            pass
        assert [replica.closed for replica in replicas] == [1, 1, 1]

    run(scenario())


def test_it_stops_even_where_its_cancellation_is_taken_for_a_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    swallowed: list[asyncio.CancelledError] = []

    async def swallow() -> tuple[Member, ...]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancelled:
            if swallowed:
                raise
            swallowed.append(cancelled)
            raise RegistryUnavailable("no answer in time") from None
        return ()

    async def scenario() -> None:
        async with world(ScriptedReplica("a")) as made:
            monkeypatch.setattr(made.registry, "members", swallow)
            await asyncio.sleep(REFRESHED_S)
            async with asyncio.timeout(10):
                await made.fleet.stop()

    run(scenario())


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param({"name": "other"}, id="another name"),
        pytest.param({"vocab_size": 999}, id="too few tokens"),
    ],
)
def test_a_replica_of_another_model_gets_no_requests_and_is_named_once(
    strange: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Though it came first: its token ids are not those of the gateway's tokenizer."""
    stranger = ScriptedReplica("a", card=replace(CARD, **strange))

    async def scenario() -> None:
        model = OwnModel(CARD.name, CARD.vocab_size)
        async with world(stranger, model=model) as made:
            assert names(made) == []
            made.links["b"] = ScriptedReplica("b")
            await made.join(made.links["b"])
            await asyncio.sleep(REFRESHED_S)
            assert names(made) == ["b"]
            assert made.fleet.card() == CARD
            await asyncio.sleep(10 * REFRESHED_S)

    run(scenario())
    (told,) = [record for record in caplog.records if record.name.endswith("fleet")]
    assert "replica a gets no requests" in told.getMessage()


def test_a_model_may_have_more_tokens_than_its_tokenizer(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        padded = OwnModel(CARD.name, CARD.vocab_size - 100)
        async with world(ScriptedReplica("a"), model=padded) as made:
            assert names(made) == ["a"]

    run(scenario())
    assert not caplog.records
