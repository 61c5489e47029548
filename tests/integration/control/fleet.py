"""Replicas on paper, attached to a real control plane over gRPC, and an operator's calls."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from grpc import aio

from orchestrator.control.events import Report
from orchestrator.control.orchestrator import OrchestratorConfig
from orchestrator.live.control_plane import ControlPlaneConfig, ControlPlaneServer
from orchestrator.policy.rebalance_config import NS_PER_MS
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos import control_pb2, control_pb2_grpc
from protos.convert import record_to_proto, snapshot_to_proto
from protos.convert_moves import move_report_to_proto, sequence_to_proto
from protos.messages import ReplicaId, Snapshot, Standing
from protos.moves import MoveReport
from protos.transport import Transport
from tests.integration.control.until import until_true
from tests.unit.control.reports import A, record

LEASE_MS = 600_000  # no lead is lost because a test is slow
# Nor is a replica on paper, which reports only when it is told to, forgotten, thought silent or
# told anything twice.
PATIENT = OrchestratorConfig(
    resend_ns=LEASE_MS * NS_PER_MS,
    absence_ns_max=LEASE_MS * NS_PER_MS,
    report_age_ns_max=LEASE_MS * NS_PER_MS,
)
QUICK = ControlPlaneConfig(
    orchestrator=PATIENT, tick_s=0.02, renew_s=0.02, lease_s=LEASE_MS / 1000, stop_grace_s=0.0
)


def directory() -> MemoryRegistry:
    return MemoryRegistry(time.monotonic_ns, RegistryConfig(lease_ms=LEASE_MS))


def server_of(
    registry: MemoryRegistry, config: ControlPlaneConfig = QUICK, port: int = 0
) -> ControlPlaneServer:
    return ControlPlaneServer(
        registry,
        host="127.0.0.1",
        port=port,
        advertise_host="127.0.0.1",
        transport=Transport(),
        config=config,
    )


@asynccontextmanager
async def listening(server: ControlPlaneServer) -> AsyncIterator[str]:
    """The address of a control plane that runs for as long."""
    try:
        yield await server.start()
    finally:
        await server.stop()


def operator(channel: aio.Channel) -> Any:
    return control_pb2_grpc.OperatorStub(channel)  # type: ignore[no-untyped-call]


class Attached:
    """A replica's end of one stream. What it does not say again stays as it was."""

    def __init__(self, channel: aio.Channel, replica_id: ReplicaId = A) -> None:
        stub = control_pb2_grpc.ControlPlaneStub(channel)  # type: ignore[no-untyped-call]
        self.replica_id = replica_id
        self.call: aio.StreamStreamCall[control_pb2.ReplicaReport, control_pb2.ControlCommand] = (
            stub.Attach()
        )

    async def say(
        self,
        snapshot: Snapshot,
        standing: Standing | None = None,
        *,
        introduce: bool = False,
    ) -> None:
        """A report without sequences: of a replica that leaves if it drains."""
        implied = Standing.LEAVING if snapshot.draining else Standing.OPEN
        await self.report(Report(snapshot, standing or implied), introduce=introduce)

    async def report(self, report: Report, *, introduce: bool = False) -> None:
        message = control_pb2.ReplicaReport(
            snapshot=snapshot_to_proto(report.snapshot),
            standing=report.standing.value,
            sequences=[sequence_to_proto(sequence) for sequence in report.sequences],
            moves=[move_report_to_proto(move) for move in report.moves],
        )
        if introduce:
            message.record.CopyFrom(record_to_proto(record(self.replica_id)))
        await self.call.write(message)

    async def next_command(self, kind: str) -> control_pb2.ControlCommand:
        """The next one of this kind."""
        while True:
            command = await self.call.read()
            assert isinstance(command, control_pb2.ControlCommand), f"no {kind} came"
            if command.WhichOneof("command") == kind:
                return command

    async def obey_move(self, report: Report, outcome: MoveReport) -> control_pb2.ControlCommand:
        """Wait for a move, and report its end as `outcome` under the name that it has."""
        command = await self.next_command("move")
        named = replace(outcome, move_id=command.move.move_id)  # type: ignore[arg-type]
        await self.report(replace(report, moves=(named,)))
        return command

    async def leave(self) -> None:
        await self.call.done_writing()
        while await self.call.read() is not aio.EOF:
            pass


async def status(channel: aio.Channel) -> list[control_pb2.ReplicaStatus]:
    return list((await operator(channel).Status(control_pb2.StatusRequest())).replicas)


async def until_status(
    channel: aio.Channel, state: str, number: int, replica_id: ReplicaId = A
) -> None:
    async def is_so() -> bool:
        known = await status(channel)
        return (replica_id, state, number) in [
            (r.record.replica_id, r.state, r.snapshot.number) for r in known
        ]

    await until_true(is_so, f"report {number} and state {state} of {replica_id}")


async def attached(channel: aio.Channel, report: Report) -> Attached:
    """A replica of which the control plane knows this report."""
    snapshot = report.snapshot
    replica = Attached(channel, snapshot.replica_id)
    await replica.report(report, introduce=True)
    states = {Standing.OPEN: "active", Standing.CORDONED: "cordoned", Standing.LEAVING: "draining"}
    await until_status(channel, states[report.standing], snapshot.number, snapshot.replica_id)
    return replica
