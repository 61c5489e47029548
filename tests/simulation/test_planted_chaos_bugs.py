"""The verdict's power: each planted bug fails a scenario, by its own sentence.

Some of production's own checks would notice first and end the world; they are
turned off where they would, so that what clients heard is all there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from orchestrator.chaos.command import command
from orchestrator.chaos.faults import Break, Delay, Restart, Scale, TimedFault
from orchestrator.chaos.library import load
from orchestrator.chaos.run import Run, play
from orchestrator.chaos.scenario import Scenario, Shape
from orchestrator.chaos.stretch import lasting
from orchestrator.control.cluster import Cluster
from orchestrator.control.moves import Moves
from orchestrator.gateway.dispatch import Dispatch
from orchestrator.gateway.line import Line, Ticket
from orchestrator.gateway.stream import Continuity, Stream
from orchestrator.gateway.told import Told
from orchestrator.policy.queue import Place
from orchestrator.sim.chaos.world import simulated
from orchestrator.sim.watched_registry import WatchedRegistry
from orchestrator.workload.heard import End
from protos.messages import Request, RequestId, SampledToken
from protos.registry import BlockBatch, Membership, ReplicaRecord
from replicas.engine.arrival import Arrival
from replicas.engine.block_pool import BlockPool
from replicas.engine.plan import BlockId
from replicas.shell.links import Links
from replicas.shell.parking import Parking

SEEDS = 6


def aborted_moves() -> Scenario:
    """A replica leaves, and the way on which it hands over what it runs is slow and breaks."""
    one, other = "replica-0", "replica-1"
    faults = [
        TimedFault(3.0, Delay(one, other, 0.15, 2.0)),
        TimedFault(3.0, Restart((one,))),
        *(TimedFault(3.2 + number / 5, Break(one, other)) for number in range(8)),
    ]
    agents = load("scale").loads[1]
    moments = tuple(2.0 + number / 10 for number in range(10))
    busy = replace(agents, at_s=moments, rate=0.0, output_tokens=(600, 900))
    return Scenario("aborted-moves", "as it says", 6.0, Shape(), (busy,), tuple(faults))


def broken(scenario: Scenario, seeds: int = SEEDS) -> str:
    """What is broken in the first play in which something is."""
    with simulated() as world:
        for seed in range(seeds):
            played = play(world, scenario, seed, lambda _: None)
            assert isinstance(played, Run)
            if not played.verdict.is_passed:
                return "\n".join(played.verdict.breaches)
    return ""


def test_without_a_bug_moves_may_be_aborted() -> None:
    assert broken(aborted_moves(), seeds=2) == ""


def test_a_token_dropped_at_a_handoff_fails_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Links.receive

    def forgetful(
        self: Links, inner: RequestId, request: Request, said: Iterable[SampledToken]
    ) -> None:
        receive(self, inner, request, tuple(said)[:-1])

    monkeypatch.setattr(Links, "receive", forgetful)
    assert "a rule of their own" in broken(load("storm"), seeds=20)


def test_a_token_lost_on_a_resumption_is_lost_to_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gateway forgets one, and does not count."""
    rest = Told.rest

    def forgetful(self: Told, choice: int) -> Request:
        whole = rest(self, choice)
        return replace(whole, output=(*whole.output, *whole.output[-1:]))

    monkeypatch.setattr(Told, "rest", forgetful)
    monkeypatch.setattr(Continuity, "take", believing)
    assert ": altered," in broken(load("replica-kill"))


def test_a_duplicate_after_a_resume_is_caught_by_the_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Told, "rest", repeating)
    assert "was given tokens that do not add up" in broken(load("replica-kill"))


def test_a_duplicate_after_a_resume_is_heard_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, where the gateway does not look."""
    monkeypatch.setattr(Told, "rest", repeating)
    monkeypatch.setattr(Continuity, "take", believing)
    assert ": duplicated," in broken(load("replica-kill"))


def believing(self: Continuity, delta: object) -> None:
    """Every stream goes on, and none is over before its source is."""


REST = Told.rest


def repeating(self: Told, choice: int) -> Request:
    whole = REST(self, choice)
    return replace(whole, output=whole.output[:-1])


@pytest.mark.parametrize("spoilt", ["start", "take_over"])
def test_a_token_that_differs_before_and_after_a_takeover_is_caught(
    monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    """Whichever of the two was wrong: the client has heard both."""
    said_well = getattr(Dispatch, spoilt)

    async def said_badly(self: Dispatch, *what: Any, **how: Any) -> Stream:
        stream: Stream = await said_well(self, *what, **how)
        if stream._first is not None and stream._first.tokens:
            first, *others = stream._first.tokens
            wrong = SampledToken(first.token ^ 1)
            stream._first = replace(stream._first, tokens=(wrong, *others))
        return stream

    monkeypatch.setattr(Dispatch, spoilt, said_badly)
    with simulated() as world:
        observed = world.play(lasting(load("gateway-kill"), 4.0), 0, lambda _: None)
    answered = [one for one in observed.heard if one.end is End.ANSWERED and one.connections > 1]
    assert answered
    assert all(one.said != observed.expected[one.number] for one in answered)


def test_a_promise_that_is_never_released_fails_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Cluster, "release", lambda self, debit: None)
    monkeypatch.setattr("orchestrator.control.cluster.is_shown", lambda *what: False)
    assert "leak: gateway-0 keeps" in broken(lasting(load("redis-flush"), 2.0), seeds=1)


def test_a_request_that_stays_in_the_line_fails_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    join = Line.join

    def haunted(self: Line, place: Place, ticket: Ticket) -> None:
        join(self, place, ticket)
        self._aside[place] = ticket

    monkeypatch.setattr(Line, "join", haunted)
    assert "requests waiting, and nobody asks" in broken(lasting(load("kv-exhaustion"), 3.0))


def test_a_choice_that_stays_parked_fails_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parking, "leave", lambda self, ticket: None)
    assert "choices that no gateway asks for" in broken(lasting(load("gateway-kill"), 4.0))


def test_a_move_that_never_ends_for_its_leader_fails_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Moves, "end", lambda self, report, now_ns: None)
    assert "waits for the end of" in broken(load("scale"), seeds=1)


def test_a_replica_that_is_listed_after_it_left_fails_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its lease never ends."""
    monkeypatch.setattr(WatchedRegistry, "_is_live", lambda self, entry: True)
    monkeypatch.setattr(WatchedRegistry, "leave", forgetting)
    one_leaves = replace(load("redis-flush"), faults=(TimedFault(1.0, Scale(1)),), seconds=2.0)
    assert "leak: the registry lists replica-001 in epoch" in broken(one_leaves, seeds=1)


async def forgetting(self: WatchedRegistry, membership: Membership) -> None:
    """Nothing is noted."""


def test_a_block_leaked_on_an_abort_fails_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arrival, "drop", lambda self: None)
    assert "of its blocks are in use" in broken(aborted_moves())


def test_a_block_leaked_when_clients_leave_fails_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = BlockPool.release_table

    def leaky(self: BlockPool, table: list[BlockId]) -> None:
        release(self, table[:-1])

    monkeypatch.setattr(BlockPool, "release_table", leaky)
    sentence = broken(lasting(load("mass-disconnect"), 2.5))
    assert "the servers broke a rule of their own" in sentence


def test_a_registry_entry_that_outlives_its_epoch_fails_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    join = WatchedRegistry.join
    publish = WatchedRegistry.publish

    async def haunted(self: WatchedRegistry, record: ReplicaRecord) -> Membership:
        former = set(self.believed(record.replica_id))
        membership = await join(self, record)
        self._entries[record.replica_id].held |= former
        return membership

    async def forgetful(self: WatchedRegistry, membership: Membership, batch: BlockBatch) -> bool:
        return await publish(self, membership, replace(batch, complete=False))

    monkeypatch.setattr(WatchedRegistry, "join", haunted)
    monkeypatch.setattr(WatchedRegistry, "publish", forgetful)
    assert "leak: the registry believes replica-" in broken(load("replica-kill"))


def test_the_command_exits_with_one_and_says_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Told, "rest", repeating)
    result = CliRunner().invoke(command, ["run", "replica-kill", "--sim", "--duration", "9"])
    assert result.exit_code == 1
    assert "blockyard chaos run replica-kill --sim --seed 0 --duration 9" in result.output
    assert "do not add up" in result.output
