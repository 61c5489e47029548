"""The operator's side of control.proto: what `blockyard status` and `drain` call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from protos import control_pb2, control_pb2_grpc
from protos.convert import record_from_proto, snapshot_from_proto
from protos.messages import ReplicaId, Snapshot
from protos.registry import ReplicaRecord


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """One replica as the control plane sees it."""

    record: ReplicaRecord
    snapshot: Snapshot
    state: str


def replica_states(control_address: str, *, timeout_s: float) -> tuple[ReplicaState, ...]:
    """All attached replicas, by id. ConnectionError when no control plane answers."""
    with grpc.insecure_channel(control_address) as channel:
        stub = control_pb2_grpc.OperatorStub(channel)  # type: ignore[no-untyped-call]
        try:
            response = stub.Status(control_pb2.StatusRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            raise ConnectionError(no_answer(control_address, error)) from error
    return tuple(
        ReplicaState(record_from_proto(r.record), snapshot_from_proto(r.snapshot), r.state)
        for r in response.replicas
    )


def drain(control_address: str, replica_id: ReplicaId) -> Iterator[tuple[str, int]]:
    """Stop admission at a replica; yields (state, sequences left) until it is empty.

    LookupError for a replica that is not attached; ConnectionError when no
    control plane answers or it goes away.
    """
    with grpc.insecure_channel(control_address) as channel:
        stub = control_pb2_grpc.OperatorStub(channel)  # type: ignore[no-untyped-call]
        try:
            for progress in stub.Drain(control_pb2.DrainRequest(replica_id=replica_id)):
                yield progress.state, progress.sequences_left
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise LookupError(error.details()) from error
            raise ConnectionError(no_answer(control_address, error)) from error


def no_answer(control_address: str, error: grpc.RpcError) -> str:
    return f"no control plane answers at {control_address} ({error.code().name})"
