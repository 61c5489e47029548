"""The control plane's two gRPC services: one for replicas, one for operators.

Shells around the ControlRoom. A stream that breaks the protocol is ended with
a sentence that says what was expected; it never reaches the Orchestrator.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
from grpc import aio

from orchestrator.control.orchestrator import (
    DrainRequested,
    ReplicaAttached,
    ReplicaDetached,
    ReplicaPhase,
    ReplicaStatus,
    ReportReceived,
    StreamId,
)
from orchestrator.live.control_room import ControlRoom, Outbox
from protos import control_pb2, control_pb2_grpc
from protos.convert import (
    record_from_proto,
    record_to_proto,
    snapshot_from_proto,
    snapshot_to_proto,
)
from protos.messages import ReplicaId

Reports: TypeAlias = AsyncIterator[control_pb2.ReplicaReport]
AttachContext: TypeAlias = (
    "aio.ServicerContext[control_pb2.ReplicaReport, control_pb2.ControlCommand]"
)
StatusContext: TypeAlias = (
    "aio.ServicerContext[control_pb2.StatusRequest, control_pb2.StatusResponse]"
)
DrainContext: TypeAlias = "aio.ServicerContext[control_pb2.DrainRequest, control_pb2.DrainProgress]"


class ProtocolError(Exception):
    """A replica's stream is not what the contract says."""


class ControlPlaneService(control_pb2_grpc.ControlPlaneServicer):
    """Serves Attach: one stream for each replica and epoch."""

    def __init__(self, room: ControlRoom, *, silence_s_max: float) -> None:
        self._room = room
        self._silence_s_max = silence_s_max

    async def Attach(self, request_iterator: Reports, context: AttachContext) -> None:
        if self._room.is_full:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many replicas are attached"
            )
        stream, outbox = self._room.open()
        writer = asyncio.create_task(write(outbox, context))
        try:
            await self._read(stream, request_iterator)
        except ProtocolError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no report for too long")
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self._room.close(stream)

    async def _read(self, stream: StreamId, reports: Reports) -> None:
        """Returns when the replica ended its side."""
        first = await self._next(reports)
        if first is None:
            return
        if not first.HasField("record") or not first.HasField("snapshot"):
            raise ProtocolError("the first report carries the replica's record and a snapshot")
        record = record_from_proto(first.record)
        snapshot = snapshot_from_proto(first.snapshot)
        if snapshot.replica_id != record.replica_id:
            raise ProtocolError("the snapshot is of another replica than the record")
        self._room.apply(ReplicaAttached(stream, record, snapshot))
        try:
            while (report := await self._next(reports)) is not None:
                snapshot = snapshot_from_proto(report.snapshot)
                if snapshot.replica_id != record.replica_id:
                    raise ProtocolError("a stream reports one replica only")
                self._room.apply(ReportReceived(stream, snapshot))
        finally:
            self._room.apply(ReplicaDetached(stream, record.replica_id))

    async def _next(self, reports: Reports) -> control_pb2.ReplicaReport | None:
        async with asyncio.timeout(self._silence_s_max):
            return await anext(reports, None)


class OperatorService(control_pb2_grpc.OperatorServicer):
    """Serves Status and Drain."""

    def __init__(self, room: ControlRoom) -> None:
        self._room = room

    async def Status(
        self, request: control_pb2.StatusRequest, context: StatusContext
    ) -> control_pb2.StatusResponse:
        return control_pb2.StatusResponse(
            replicas=[status_to_proto(status) for status in self._room.status()]
        )

    async def Drain(
        self, request: control_pb2.DrainRequest, context: DrainContext
    ) -> AsyncIterator[control_pb2.DrainProgress]:
        """Order the drain, then tell every change until the replica is empty.

        Ending the call does not end the drain.
        """
        replica_id = ReplicaId(request.replica_id)
        if self._room.replica(replica_id) is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no replica {replica_id!r} is attached")
        self._room.apply(DrainRequested(replica_id))
        told: control_pb2.DrainProgress | None = None
        while (status := self._room.replica(replica_id)) is not None:
            progress = progress_of(status)
            if progress != told:
                yield progress
                told = progress
            if status.phase is ReplicaPhase.DRAINED:
                return
            await self._room.changed()
        await context.abort(
            grpc.StatusCode.UNAVAILABLE, "the replica went away before it was seen empty"
        )


async def write(outbox: Outbox, context: AttachContext) -> None:
    while True:
        await context.write(await outbox.get())


def status_to_proto(status: ReplicaStatus) -> control_pb2.ReplicaStatus:
    return control_pb2.ReplicaStatus(
        record=record_to_proto(status.record),
        snapshot=snapshot_to_proto(status.snapshot),
        state=status.phase.value,
    )


def progress_of(status: ReplicaStatus) -> control_pb2.DrainProgress:
    return control_pb2.DrainProgress(
        state=status.phase.value,
        sequences_left=status.snapshot.sequences_running + status.snapshot.sequences_waiting,
    )
