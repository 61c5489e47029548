"""What replicas call at the control plane: one stream for each of them and each epoch.

A shell around the ControlRoom. A stream that breaks the protocol is ended with
a sentence that says what was expected; it never reaches the Orchestrator. A
stream of a term that is over is ended, too, and says who leads now.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
from grpc import aio

from orchestrator.control.events import ReplicaAttached, ReplicaDetached, Report, ReportReceived
from orchestrator.live.control_room import Attachment, ControlRoom, NotLeading
from protos import control_pb2, control_pb2_grpc
from protos.convert import record_from_proto, snapshot_from_proto
from protos.convert_moves import move_report_from_proto, sequence_from_proto
from protos.messages import Standing

Reports: TypeAlias = AsyncIterator[control_pb2.ReplicaReport]
AttachContext: TypeAlias = (
    "aio.ServicerContext[control_pb2.ReplicaReport, control_pb2.ControlCommand]"
)
LEADER_KEY = "blockyard-leader"  # trailing metadata: the address of whoever leads


class ProtocolError(Exception):
    """A replica's stream is not what the contract says."""


class ControlPlaneService(control_pb2_grpc.ControlPlaneServicer):
    """Serves Attach."""

    def __init__(self, room: ControlRoom, *, silence_s_max: float) -> None:
        self._room = room
        self._silence_s_max = silence_s_max

    async def Attach(self, request_iterator: Reports, context: AttachContext) -> None:
        try:
            self._room.require_lead()
            if self._room.is_full:
                await context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, "too many replicas are attached"
                )
            await self._serve(self._room.open(), request_iterator, context)
        except NotLeading as error:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, str(error), leader_metadata(error)
            )
        except ProtocolError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no report for too long")

    async def _serve(
        self, attachment: Attachment, reports: Reports, context: AttachContext
    ) -> None:
        """Until the replica ended its side, or the term ended: then NotLeading, or nothing."""
        reader = asyncio.create_task(self._read(attachment, reports))
        writer = asyncio.create_task(write(attachment, context))
        end = asyncio.create_task(attachment.ended.wait())
        try:
            await asyncio.wait({reader, end}, return_when=asyncio.FIRST_COMPLETED)
            if not attachment.ended.is_set():
                await reader
                return
            self._room.require_lead()  # a term of its own again: the replica attaches anew
        finally:
            for task in (reader, writer, end):
                task.cancel()
            await asyncio.gather(reader, writer, end, return_exceptions=True)
            self._room.close(attachment)

    async def _read(self, attachment: Attachment, reports: Reports) -> None:
        """Returns when the replica ended its side."""
        first = await self._next(reports)
        if first is None:
            return
        if not first.HasField("record") or not first.HasField("snapshot"):
            raise ProtocolError("the first report carries the replica's record and a snapshot")
        record = record_from_proto(first.record)
        report = report_from_proto(first)
        if report.snapshot.replica_id != record.replica_id:
            raise ProtocolError("the snapshot is of another replica than the record")
        self._room.apply(ReplicaAttached(attachment.stream, record, report))
        try:
            while (message := await self._next(reports)) is not None:
                report = report_from_proto(message)
                if report.snapshot.replica_id != record.replica_id:
                    raise ProtocolError("a stream reports one replica only")
                self._room.apply(ReportReceived(attachment.stream, report))
        finally:
            self._room.apply(ReplicaDetached(attachment.stream, record.replica_id))

    async def _next(self, reports: Reports) -> control_pb2.ReplicaReport | None:
        async with asyncio.timeout(self._silence_s_max):
            return await anext(reports, None)


async def write(attachment: Attachment, context: AttachContext) -> None:
    while True:
        await context.write(await attachment.outbox.get())


def report_from_proto(message: control_pb2.ReplicaReport) -> Report:
    """All that a replica says at once. ProtocolError for words that nobody knows."""
    try:
        return Report(
            snapshot_from_proto(message.snapshot),
            Standing(message.standing),
            tuple(sequence_from_proto(sequence) for sequence in message.sequences),
            tuple(move_report_from_proto(report) for report in message.moves),
        )
    except ValueError as error:
        raise ProtocolError(f"a report that cannot be read: {error}") from error


def leader_metadata(error: NotLeading) -> tuple[tuple[str, str], ...]:
    return ((LEADER_KEY, error.leader or ""),)
