"""What a person or a hook calls at the control plane.

Each call is answered by the leader only; one that waits when the term ends is
ended like one that came too late. What is asked for in vain is refused at once
with a sentence: NOT_FOUND for a name that nobody has, INVALID_ARGUMENT for one
that is no name or means several, FAILED_PRECONDITION for what the present
state forbids.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias
from uuid import uuid4

import grpc
from grpc import aio

from orchestrator.control.events import (
    MoveRequested,
    PolicyChanged,
    RebalanceRequested,
    StandingRequested,
)
from orchestrator.control.find import Located, listed, move_objection, sequences_named
from orchestrator.control.phases import ReplicaPhase, objection
from orchestrator.control.tracked import ReplicaStatus
from orchestrator.live.control_room import ControlRoom
from orchestrator.live.operator_refusals import Refused, forbidden, invalid, not_found, refusals
from orchestrator.live.operator_words import (
    decision_to_proto,
    fleet_to_proto,
    policy_to_proto,
    rebalance_to_proto,
    status_to_proto,
)
from orchestrator.policy.rebalance_config import NS_PER_MS, set_knob
from protos import control_pb2 as pb
from protos import control_pb2_grpc
from protos.convert_moves import move_report_to_proto
from protos.messages import ReplicaId, RequestId, Standing
from protos.moves import MoveId, MoveOutcome, MoveReport

Context: TypeAlias = aio.ServicerContext[Any, Any]
WATCH_MS_MIN = 100  # a picture of the whole fleet costs more than one replica's report
DECISIONS_MAX = 4096


class OperatorService(control_pb2_grpc.OperatorServicer):
    """Serves Operator of control.proto."""

    def __init__(self, room: ControlRoom) -> None:
        self._room = room

    # ---- looking

    async def Status(self, request: pb.StatusRequest, context: Context) -> pb.StatusResponse:
        async with refusals(context):
            return self._fleet(sequences=request.sequences)

    async def Watch(
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.StatusResponse]:
        interval_s = max(WATCH_MS_MIN, request.interval_ms) / 1000
        async with refusals(context):
            while True:
                yield self._fleet(sequences=request.sequences)
                await asyncio.sleep(interval_s)
                await self._room.changed()

    async def Decisions(
        self, request: pb.DecisionsRequest, context: Context
    ) -> pb.DecisionsResponse:
        async with refusals(context):
            found = self._room.orchestrator.decisions.last(
                request.count or DECISIONS_MAX,
                request_id=RequestId(request.request_id) if request.request_id else None,
                replica_id=ReplicaId(request.replica_id) if request.replica_id else None,
            )
            now_ns = self._room.now_ns()
            return pb.DecisionsResponse(decisions=[decision_to_proto(d, now_ns) for d in found])

    def _fleet(self, *, sequences: bool) -> pb.StatusResponse:
        room = self._room
        fleet = fleet_to_proto(room.orchestrator, room.now_ns(), sequences=sequences)
        fleet.term, led_ns = room.tenure()
        fleet.leading_ms = led_ns // NS_PER_MS
        return fleet

    # ---- standings

    async def Cordon(self, request: pb.CordonRequest, context: Context) -> pb.ReplicaStatus:
        async with refusals(context):
            return self._stand(request.replica_id, Standing.CORDONED)

    async def Uncordon(self, request: pb.UncordonRequest, context: Context) -> pb.ReplicaStatus:
        async with refusals(context):
            return self._stand(request.replica_id, Standing.OPEN)

    async def Drain(
        self, request: pb.DrainRequest, context: Context
    ) -> AsyncIterator[pb.DrainProgress]:
        """Order the drain, then tell every change until the replica is empty.

        Ending the call does not end the drain.
        """
        async with refusals(context):
            began_ns = self._room.now_ns()
            self._stand(request.replica_id, Standing.LEAVING)
            told: pb.DrainProgress | None = None
            while (status := self._room.replica(ReplicaId(request.replica_id))) is not None:
                progress = self._progress(status, began_ns)
                if progress != told:
                    yield progress
                    told = progress
                if status.phase is ReplicaPhase.DRAINED:
                    return
                if status.phase is not ReplicaPhase.DRAINING:
                    raise Refused(
                        grpc.StatusCode.ABORTED, "the replica was taken back before it was empty"
                    )
                await self._room.changed()
            raise Refused(
                grpc.StatusCode.UNAVAILABLE, "the replica went away before it was seen empty"
            )

    def _stand(self, name: str, standing: Standing) -> pb.ReplicaStatus:
        status = self._known(name)
        if (sentence := objection(status.phase, standing)) is not None:
            raise forbidden(f"{name} cannot be {standing.value}: {sentence}")
        self._room.apply(StandingRequested(status.record.replica_id, standing))
        return status_to_proto(self._known(name), sequences=False)

    def _progress(self, status: ReplicaStatus, began_ns: int) -> pb.DrainProgress:
        moves, replica_id = self._room.orchestrator.moves, status.record.replica_id
        outcomes = [
            ended.outcome
            for ended in moves.ended()
            if ended.move.source == replica_id and ended.ended_ns >= began_ns
        ]
        snapshot = status.snapshot
        return pb.DrainProgress(
            state=status.phase.value,
            sequences_left=snapshot.sequences_running + snapshot.sequences_waiting,
            sequences_moved=outcomes.count(MoveOutcome.MOVED),
            sequences_handed_back=outcomes.count(MoveOutcome.HANDED_BACK),
            moves_under_way=sum(move.source == replica_id for move in moves.under_way()),
        )

    def _known(self, name: str) -> ReplicaStatus:
        status = self._room.replica(ReplicaId(name))
        if status is None:
            raise not_found(f"no replica {name!r} is attached")
        return status

    # ---- moves

    async def Move(self, request: pb.MoveRequest, context: Context) -> pb.MoveResponse:
        async with refusals(context):
            target = self._known(request.target)
            one = self._one_sequence(request.sequence)
            if (sentence := move_objection(one, target)) is not None:
                raise forbidden(sentence)
            move_id = MoveId(f"operator-{uuid4().hex}")
            self._room.apply(
                MoveRequested(
                    move_id, one.replica_id, one.sequence.sequence_id, target.record.replica_id
                )
            )
            report = await self._end_of(move_id)
            return pb.MoveResponse(report=move_report_to_proto(report), source=one.replica_id)

    async def _end_of(self, move_id: MoveId) -> MoveReport:
        """Comes for certain: a move that its source says nothing of is given up."""
        while (report := self._room.orchestrator.moves.report(move_id)) is None:
            if not self._room.orchestrator.moves.is_known(move_id):
                raise forbidden("the sequence or its replica went away before it was moved")
            await self._room.changed()
        return report

    def _one_sequence(self, name: str) -> Located:
        matches = sequences_named(self._room.status(), name)
        match matches:
            case []:
                raise not_found(
                    f"no sequence {name!r} is among those that replicas report (their largest)"
                )
            case [one]:
                return one
            case _:
                raise invalid(f"{name!r} may be {listed(matches)}; name one")

    async def Rebalance(
        self, request: pb.RebalanceRequest, context: Context
    ) -> pb.RebalanceResponse:
        async with refusals(context):
            plan = self._room.orchestrator.plan(self._room.now_ns())
            if not request.dry_run:
                self._room.apply(RebalanceRequested())
            return rebalance_to_proto(plan)

    # ---- policy

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Context) -> pb.Policy:
        async with refusals(context):
            return policy_to_proto(self._room.orchestrator.policy)

    async def SetPolicy(self, request: pb.SetPolicyRequest, context: Context) -> pb.Policy:
        async with refusals(context):
            try:
                policy = set_knob(self._room.orchestrator.policy, request.knob, request.value)
            except ValueError as error:
                raise invalid(str(error)) from error
            self._room.apply(PolicyChanged(request.knob, policy))
            return policy_to_proto(self._room.orchestrator.policy)
