"""The operator's side of control.proto: what `blockyard status`, `drain`, `move`... call.

Any control plane's address will do: one that does not lead names the leader,
and the call goes there. Where none is known, between two terms, the call waits
for one, but not for long. LookupError: there is no such replica or sequence.
ValueError: the words make no sense, or several. CallRefused: not in the present
state. ConnectionError: nobody who leads answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import grpc

from orchestrator.live.control_door import ControlDoor
from orchestrator.live.control_services import LEADER_KEY
from protos import control_pb2 as pb
from protos import control_pb2_grpc
from protos.convert import record_from_proto, snapshot_from_proto
from protos.convert_moves import move_report_from_proto, sequence_from_proto
from protos.messages import ReplicaId, SequenceReport, Snapshot
from protos.moves import MoveReport
from protos.registry import ReplicaRecord

Stub = control_pb2_grpc.OperatorStub
Answer = TypeVar("Answer")
TIMEOUT_S = 5.0
MOVE_TIMEOUT_S = 120.0  # the control plane gives a move up long before
LEADERLESS_S = 10.0  # a lease is three; whoever has the next one has it soon after
LEADERLESS_POLL_S = 0.2


class CallRefused(Exception):
    """The present state forbids it; the sentence says why."""


class NotLeader(ConnectionError):
    """A control plane answers, but it does not lead."""

    def __init__(self, sentence: str, leader: str) -> None:
        super().__init__(sentence)
        self.leader = leader  # empty: unknown


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """One replica as the control plane sees it."""

    record: ReplicaRecord
    snapshot: Snapshot
    state: str
    standing: str = ""
    sequences: tuple[SequenceReport, ...] = ()
    is_fresh: bool = True


@dataclass(frozen=True, slots=True)
class FleetState:
    """All replicas by id, and the moves between them."""

    replicas: tuple[ReplicaState, ...]
    moves: tuple[pb.MoveStatus, ...]
    term: int = 0  # the leader's
    leading_ms: int = 0


def replica_states(control: ControlDoor, *, timeout_s: float) -> tuple[ReplicaState, ...]:
    """All attached replicas, by id, without their sequences."""
    response = ask(control, lambda stub: stub.Status(pb.StatusRequest(), timeout=timeout_s))
    return fleet_from_proto(response).replicas


def fleet(control: ControlDoor, *, sequences: bool = False) -> FleetState:
    request = pb.StatusRequest(sequences=sequences)
    response = ask(control, lambda stub: stub.Status(request, timeout=TIMEOUT_S))
    return fleet_from_proto(response)


def watch(control: ControlDoor, *, interval_ms: int, sequences: bool) -> Iterator[FleetState]:
    """The fleet now and after every change."""
    request = pb.WatchRequest(interval_ms=interval_ms, sequences=sequences)
    for response in listen(control, lambda stub: stub.Watch(request)):
        yield fleet_from_proto(response)


def cordon(control: ControlDoor, replica_id: ReplicaId) -> str:
    """Take no new work there; the state that follows."""
    request = pb.CordonRequest(replica_id=replica_id)
    response = ask(control, lambda stub: stub.Cordon(request, timeout=TIMEOUT_S))
    return str(response.state)


def uncordon(control: ControlDoor, replica_id: ReplicaId) -> str:
    """Take work there again; the state that follows."""
    request = pb.UncordonRequest(replica_id=replica_id)
    response = ask(control, lambda stub: stub.Uncordon(request, timeout=TIMEOUT_S))
    return str(response.state)


def drain(control: ControlDoor, replica_id: ReplicaId) -> Iterator[pb.DrainProgress]:
    """Empty a replica; every change until it is empty."""
    request = pb.DrainRequest(replica_id=replica_id)
    return listen(control, lambda stub: stub.Drain(request))


def move(control: ControlDoor, sequence: str, target: ReplicaId) -> tuple[MoveReport, ReplicaId]:
    """Move a sequence; how that ended, and where it was."""
    request = pb.MoveRequest(sequence=sequence, target=target)
    response = ask(control, lambda stub: stub.Move(request, timeout=MOVE_TIMEOUT_S))
    return move_report_from_proto(response.report), ReplicaId(response.source)


def rebalance(control: ControlDoor, *, dry_run: bool) -> pb.RebalanceResponse:
    """Look at the fleet now; what is ordered, or would be."""
    request = pb.RebalanceRequest(dry_run=dry_run)
    response: pb.RebalanceResponse = ask(
        control, lambda stub: stub.Rebalance(request, timeout=TIMEOUT_S)
    )
    return response


def decisions(
    control: ControlDoor, *, request_id: str = "", replica_id: str = "", count: int = 0
) -> tuple[pb.Decision, ...]:
    """What the control plane decided lately, oldest first."""
    request = pb.DecisionsRequest(request_id=request_id, replica_id=replica_id, count=count)
    response = ask(control, lambda stub: stub.Decisions(request, timeout=TIMEOUT_S))
    return tuple(response.decisions)


def policy(control: ControlDoor) -> tuple[pb.Knob, ...]:
    response = ask(control, lambda stub: stub.GetPolicy(pb.GetPolicyRequest(), timeout=TIMEOUT_S))
    return tuple(response.knobs)


def set_policy(control: ControlDoor, knob: str, value: str) -> tuple[pb.Knob, ...]:
    request = pb.SetPolicyRequest(knob=knob, value=value)
    response = ask(control, lambda stub: stub.SetPolicy(request, timeout=TIMEOUT_S))
    return tuple(response.knobs)


# ---- calling


def ask(control: ControlDoor, call: Callable[[Stub], Answer]) -> Answer:
    """The leader's answer to one call."""
    (answer,) = listen(control, lambda stub: iter((call(stub),)))
    return answer


def listen(control: ControlDoor, call: Callable[[Stub], Iterator[Answer]]) -> Iterator[Answer]:
    """The leader's answers to one call, as they come."""
    door, deadline_s = control, time.monotonic() + LEADERLESS_S
    has_answered = False
    while True:
        try:
            for answer in listen_at(door, call):
                has_answered = True
                yield answer
            return
        except NotLeader as error:
            if has_answered or time.monotonic() > deadline_s:
                raise
            if error.leader and door is control:
                door = control.at(error.leader)
            else:  # nobody leads yet, or not any more
                door = control
                time.sleep(LEADERLESS_POLL_S)


def listen_at(control: ControlDoor, call: Callable[[Stub], Iterator[Answer]]) -> Iterator[Answer]:
    with control.channel() as channel:
        try:
            yield from call(Stub(channel))  # type: ignore[no-untyped-call]
        except grpc.RpcError as error:
            raise meaning(control, error) from error


def meaning(control: ControlDoor, error: grpc.RpcError) -> Exception:
    """What a failed call says, as this module's callers know it."""
    details: str = error.details() or error.code().name
    trailing = {each.key: each.value for each in error.trailing_metadata() or ()}
    match error.code():
        case grpc.StatusCode.FAILED_PRECONDITION if LEADER_KEY in trailing:
            return NotLeader(details, str(trailing[LEADER_KEY]))
        case grpc.StatusCode.FAILED_PRECONDITION | grpc.StatusCode.ABORTED:
            return CallRefused(details)
        case grpc.StatusCode.NOT_FOUND:
            return LookupError(details)
        case grpc.StatusCode.INVALID_ARGUMENT:
            return ValueError(details)
        case code:
            return ConnectionError(
                f"no control plane answers at {control.address} ({code.name}: {details})"
                + tls_hint(control, details)
            )


def tls_hint(control: ControlDoor, details: str) -> str:
    """What to try where somebody hangs up on words in the clear."""
    if control.transport.is_mutual or "Socket closed" not in details:
        return ""
    return "; if its members speak TLS, set BLOCKYARD_INTERNAL_TLS or give --internal-tls"


def fleet_from_proto(message: pb.StatusResponse) -> FleetState:
    replicas = tuple(
        ReplicaState(
            record_from_proto(replica.record),
            snapshot_from_proto(replica.snapshot),
            replica.state,
            replica.standing,
            tuple(sequence_from_proto(sequence) for sequence in replica.sequences),
            replica.is_fresh,
        )
        for replica in message.replicas
    )
    return FleetState(replicas, tuple(message.moves), message.term, message.leading_ms)
