"""What an operator can do to a cluster, over real gRPC, with replicas on paper."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc
import pytest
from grpc import aio

from orchestrator.control.events import Report
from orchestrator.policy.rebalance_config import RebalanceConfig
from protos import control_pb2 as pb
from protos.messages import SequenceId, SequenceReport, Standing
from protos.moves import MoveId, MoveOutcome, MoveReport
from tests.integration.control.fleet import (
    PATIENT,
    QUICK,
    Attached,
    attached,
    directory,
    listening,
    operator,
    server_of,
    status,
    until_status,
)
from tests.unit.control.reports import A, B
from tests.unit.policy.fleets import replica, sequence

CALM = replace(QUICK, orchestrator=replace(PATIENT, rebalance=RebalanceConfig(enabled=False)))
FULL = tuple(sequence(f"s{i}", 10) for i in range(9))
MOVED = MoveReport(MoveId(""), FULL[0].sequence_id, MoveOutcome.MOVED, blocks_sent=10, stages=2)


def told(
    name: str, *sequences: SequenceReport, number: int = 0, standing: Standing = Standing.OPEN
) -> Report:
    snapshot = replica(name, *sequences, standing=standing).snapshot
    return Report(replace(snapshot, number=number), standing, sequences)


@dataclass
class Pair:
    """Replica A with the sequences it was given, and B with none."""

    call: Any
    a: Attached
    b: Attached
    channel: aio.Channel


@asynccontextmanager
async def pair(*sequences: SequenceReport) -> AsyncIterator[Pair]:
    async with (
        listening(server_of(directory(), CALM)) as address,
        aio.insecure_channel(address) as channel,
    ):
        a = await attached(channel, told(A, *sequences))
        b = await attached(channel, told(B))
        yield Pair(operator(channel), a, b, channel)


async def refusal_of(call: aio.UnaryUnaryCall[Any, Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


# ---- standings


async def test_a_replica_is_cordoned_and_taken_back() -> None:
    async with pair() as fleet:
        assert (await fleet.call.Cordon(pb.CordonRequest(replica_id=A))).state == "cordoned"
        command = await fleet.a.next_command("standing")
        assert (command.standing, command.epoch, command.term) == ("cordoned", 1, 1)
        await fleet.a.report(told(A, number=1, standing=Standing.CORDONED))
        await until_status(fleet.channel, "cordoned", 1)
        assert (await fleet.call.Uncordon(pb.UncordonRequest(replica_id=A))).state == "active"
        assert (await fleet.a.next_command("standing")).standing == "open"


async def test_a_draining_replica_cannot_be_cordoned_and_a_stranger_not_found() -> None:
    async with pair(FULL[0]) as fleet:
        progress = fleet.call.Drain(pb.DrainRequest(replica_id=A))
        assert (await progress.read()).state == "draining"
        code, sentence = await refusal_of(fleet.call.Cordon(pb.CordonRequest(replica_id=A)))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "uncordon" in sentence
        code, sentence = await refusal_of(fleet.call.Uncordon(pb.UncordonRequest(replica_id="x")))
        assert (code, "'x'" in sentence) == (grpc.StatusCode.NOT_FOUND, True)


async def test_a_drain_moves_sequences_and_tells_how_many() -> None:
    async with pair(FULL[0], sequence("w", waiting=True)) as fleet:
        progress = fleet.call.Drain(pb.DrainRequest(replica_id=A))
        handed = replace(MOVED, outcome=MoveOutcome.HANDED_BACK)
        first = await fleet.a.obey_move(told(A, FULL[0], number=1), handed)
        assert not first.move.HasField("target")
        empty = told(A, number=2, standing=Standing.LEAVING)
        second = await fleet.a.obey_move(empty, MOVED)
        assert (second.move.target.replica_id, second.move.target.epoch) == (B, 1)
        steps = [step async for step in progress]
        last = steps[-1]
        assert (last.state, last.sequences_left, last.moves_under_way) == ("drained", 0, 0)
        assert (last.sequences_moved, last.sequences_handed_back) == (1, 1)


async def test_a_drain_that_is_taken_back_ends_its_call() -> None:
    async with pair(FULL[0]) as fleet:
        progress = fleet.call.Drain(pb.DrainRequest(replica_id=A))
        assert (await progress.read()).state == "draining"
        await fleet.call.Uncordon(pb.UncordonRequest(replica_id=A))
        with pytest.raises(aio.AioRpcError) as caught:
            while await progress.read() is not aio.EOF:
                pass
        assert caught.value.code() is grpc.StatusCode.ABORTED


# ---- moves


@pytest.mark.parametrize("name", ["s0/0", "s0"])
async def test_a_sequence_is_moved_by_any_name_that_means_only_it(name: str) -> None:
    async with pair(*FULL) as fleet:
        call = fleet.call.Move(pb.MoveRequest(sequence=name, target=B))
        command = await fleet.a.obey_move(told(A, *FULL[1:], number=1), MOVED)
        assert command.move.sequence_id == "s0/0"
        answer = await call
        assert (answer.source, answer.report.outcome, answer.report.blocks_sent) == (
            A,
            "moved",
            10,
        )


SIBLING = replace(FULL[0], sequence_id=SequenceId("s0/0x"), choice=1)


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("nobody", B), grpc.StatusCode.NOT_FOUND, "'nobody'"),
        (("s0", "nowhere"), grpc.StatusCode.NOT_FOUND, "'nowhere'"),
        (("s0", B), grpc.StatusCode.INVALID_ARGUMENT, "s0/0 at a, s0/0x at a"),
        (("s1", A), grpc.StatusCode.FAILED_PRECONDITION, "already"),
        (("w", B), grpc.StatusCode.FAILED_PRECONDITION, "waits"),
        (("fixed", B), grpc.StatusCode.FAILED_PRECONDITION, "moves already"),
    ],
)
async def test_a_move_that_cannot_be_is_refused_with_a_sentence(
    words: tuple[str, str], code: grpc.StatusCode, part: str
) -> None:
    others = (sequence("w", waiting=True), sequence("fixed", 5, movable=False))
    async with pair(FULL[0], SIBLING, FULL[1], *others) as fleet:
        request = pb.MoveRequest(sequence=words[0], target=words[1])
        refused = await refusal_of(fleet.call.Move(request))
        assert refused[0] is code
        assert part in refused[1]


async def test_nothing_is_moved_to_a_replica_that_takes_no_work() -> None:
    async with pair(*FULL) as fleet:
        await fleet.call.Cordon(pb.CordonRequest(replica_id=B))
        await fleet.b.report(told(B, number=1, standing=Standing.CORDONED))
        await until_status(fleet.channel, "cordoned", 1, B)
        code, _ = await refusal_of(fleet.call.Move(pb.MoveRequest(sequence="s0", target=B)))
        assert code is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_dry_run_says_what_a_rebalance_then_orders() -> None:
    async with pair(*FULL) as fleet:
        dry = await fleet.call.Rebalance(pb.RebalanceRequest(dry_run=True))
        (planned,) = dry.moves
        assert (planned.reason, planned.source, planned.target) == ("balance", A, B)
        assert not (await fleet.call.Status(pb.StatusRequest())).moves
        assert (await fleet.call.Rebalance(pb.RebalanceRequest())).moves == dry.moves
        command = await fleet.a.next_command("move")
        assert command.move.sequence_id == planned.sequence_id
        (under_way,) = (await fleet.call.Status(pb.StatusRequest())).moves
        assert under_way.move_id == command.move.move_id


# ---- looking


async def test_the_status_tells_for_how_long_its_leader_leads() -> None:
    async with pair(*FULL) as fleet:
        first = await fleet.call.Status(pb.StatusRequest())
        later = await fleet.call.Status(pb.StatusRequest())
        assert first.term == later.term > 0
        assert first.leading_ms <= later.leading_ms < 600_000


async def test_the_status_lists_sequences_when_asked() -> None:
    async with pair(*FULL) as fleet:
        assert all(not known.sequences for known in await status(fleet.channel))
        asked = await fleet.call.Status(pb.StatusRequest(sequences=True))
        assert [len(known.sequences) for known in asked.replicas] == [9, 0]
        assert [(known.standing, known.is_fresh) for known in asked.replicas] == [
            ("open", True)
        ] * 2


async def test_a_watch_tells_what_changes() -> None:
    async with pair(*FULL) as fleet:
        watch = fleet.call.Watch(pb.WatchRequest(interval_ms=100))
        assert [known.state for known in (await watch.read()).replicas] == ["active", "active"]
        await fleet.call.Cordon(pb.CordonRequest(replica_id=B))
        while (await watch.read()).replicas[1].state != "cordoned":
            pass
        watch.cancel()


async def test_decisions_are_told_by_request_and_replica() -> None:
    async with pair(*FULL) as fleet:
        call = fleet.call.Move(pb.MoveRequest(sequence="s0", target=B))
        await fleet.a.obey_move(told(A, *FULL[1:], number=1), MOVED)
        await call
        mine = await fleet.call.Decisions(pb.DecisionsRequest(request_id="s0"))
        assert [(d.kind, d.reason) for d in mine.decisions] == [
            ("move", "operator"),
            ("move_ended", "moved"),
        ]
        last = await fleet.call.Decisions(pb.DecisionsRequest(replica_id=B, count=1))
        assert [d.kind for d in last.decisions] == ["move_ended"]


async def test_each_decision_is_a_log_line_with_its_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO"):
        async with pair(*FULL) as fleet:
            call = fleet.call.Move(pb.MoveRequest(sequence="s0", target=B))
            await fleet.a.obey_move(told(A, number=1), MOVED)
            await call
    decided = [r.fields for r in caplog.records if r.getMessage() == "decided"]  # type: ignore[attr-defined]
    moves = [line["kind"] for line in decided if line.get("request_id") == "s0"]
    assert moves == ["move", "move_ended"]
    assert len({line["move_id"] for line in decided if line["kind"].startswith("move")}) == 1


async def test_a_knob_turned_counts_at_once_and_a_wrong_one_is_refused() -> None:
    async with pair(*FULL) as fleet:
        turned = await fleet.call.SetPolicy(pb.SetPolicyRequest(knob="enabled", value="on"))
        assert {k.name: k.value for k in turned.knobs}["enabled"] == "on"
        assert (await fleet.a.next_command("move")).move.target.replica_id == B
        for knob, value in (("speed", "1"), ("gap_begin", "wide"), ("gap_begin", "0.5")):
            request = pb.SetPolicyRequest(knob=knob, value=value)
            code, sentence = await refusal_of(fleet.call.SetPolicy(request))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert sentence
        kept = await fleet.call.GetPolicy(pb.GetPolicyRequest())
        assert kept == turned
