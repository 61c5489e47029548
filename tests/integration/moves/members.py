"""Real replicas of the tiny model, each with a control plane of its own that a test speaks for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

from grpc import aio

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos import control_pb2, control_pb2_grpc
from protos.convert_moves import (
    move_order_to_proto,
    move_report_from_proto,
    peer_to_proto,
    sequence_from_proto,
)
from protos.messages import ReplicaId, SequenceId, SequenceReport
from protos.moves import MoveId, MoveOrder, MoveReport, Peer
from replicas.config import ReplicaConfig
from replicas.serving.build import build_replica
from replicas.serving.replica import Replica
from tests.unit.shell.eventually import eventually

EPOCH = 0  # nobody gives these replicas another one
DEADLINE_MS = 20_000
# A loaded machine takes its time: copies are expected to be slow, and so none is late.
CONFIG = ReplicaConfig(ReplicaId(""), report_interval_ms=20, copy_start_ms=5000)
PARK_GRACE_MS = 20_000  # for what is adopted: its gateway may be slow to come
PARK_BRIEFLY_MS = 3000  # for what nobody may come for: it is waited for
_numbers = count(1)


class Plane(control_pb2_grpc.ControlPlaneServicer):
    """Keeps what one replica reports; sends what it is told to."""

    def __init__(self) -> None:
        self.sequences: tuple[SequenceReport, ...] = ()
        self.moves: dict[MoveId, MoveReport] = {}
        self.commands: asyncio.Queue[control_pb2.ControlCommand] = asyncio.Queue()

    async def Attach(
        self,
        request_iterator: AsyncIterator[control_pb2.ReplicaReport],
        context: aio.ServicerContext[control_pb2.ReplicaReport, control_pb2.ControlCommand],
    ) -> None:
        sending = asyncio.create_task(self._send(context))
        try:
            async for report in request_iterator:
                self.sequences = tuple(map(sequence_from_proto, report.sequences))
                for move in map(move_report_from_proto, report.moves):
                    assert move.move_id not in self.moves, "reported twice"
                    self.moves[move.move_id] = move
        finally:
            sending.cancel()

    async def _send(
        self, context: aio.ServicerContext[control_pb2.ReplicaReport, control_pb2.ControlCommand]
    ) -> None:
        while True:
            await context.write(await self.commands.get())


class Ordered:
    """One replica, wherever it runs, and who orders it."""

    def __init__(self, plane: Plane, peer: Peer) -> None:
        self.plane = plane
        self.peer = peer

    async def sequence(self, request_id: str, choice: int = 0) -> SequenceReport:
        """What it reports of a choice that runs here; waits until it does."""

        def found() -> list[SequenceReport]:
            return [
                report
                for report in self.plane.sequences
                if (report.request_id, report.choice) == (request_id, choice)
                and report.is_movable
                and not report.is_waiting
            ]

        await eventually(lambda: bool(found()), f"{request_id}/{choice} runs")
        return found()[0]

    def order(self, sequence_id: SequenceId, target: Peer | None) -> MoveId:
        order = MoveOrder(MoveId(f"m{next(_numbers)}"), sequence_id, target, DEADLINE_MS)
        command = control_pb2.ControlCommand(epoch=EPOCH, term=1, move=move_order_to_proto(order))
        self.plane.commands.put_nowait(command)
        self.plane.commands.put_nowait(command)  # orders may come twice
        return order.move_id

    async def ended(self, move_id: MoveId) -> MoveReport:
        await eventually(lambda: move_id in self.plane.moves, f"{move_id} has ended")
        return self.plane.moves[move_id]

    async def move(self, request_id: str, target: Peer | None, choice: int = 0) -> MoveReport:
        """Order a move of a choice that runs here, and see it end."""
        sequence = await self.sequence(request_id, choice)
        return await self.ended(self.order(sequence.sequence_id, target))

    def warm_from(self, *peers: Peer) -> None:
        warm = control_pb2.WarmOrder(peers=map(peer_to_proto, peers))
        command = control_pb2.ControlCommand(epoch=EPOCH, term=1, warm=warm)
        self.plane.commands.put_nowait(command)


class Member(Ordered):
    """One that runs in this process."""

    def __init__(self, replica: Replica, plane: Plane, peer: Peer) -> None:
        super().__init__(plane, peer)
        self.replica = replica

    @property
    def blocks_used(self) -> int:
        return self.replica.snapshot().blocks_used


@asynccontextmanager
async def served_plane() -> AsyncIterator[tuple[Plane, str]]:
    """A control plane and its address."""
    plane = Plane()
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    control_pb2_grpc.add_ControlPlaneServicer_to_server(plane, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield plane, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def build_member(
    plane_address: str,
    name: str,
    *,
    blocks_total: int = 1200,
    warm_ms: int = 0,
    park_grace_ms: int = PARK_GRACE_MS,
    copy_start_ms: int = CONFIG.copy_start_ms,
    copy_bytes_per_s: int = CONFIG.copy_bytes_per_s,
) -> Replica:
    """A replica that will attach to the control plane there."""
    directory = MemoryRegistry(time.monotonic_ns, RegistryConfig(lease_ms=600_000))
    await directory.lead("plane", plane_address)
    config = replace(
        CONFIG,
        replica_id=ReplicaId(name),
        warm_ms=warm_ms,
        park_grace_ms=park_grace_ms,
        copy_start_ms=copy_start_ms,
        copy_bytes_per_s=copy_bytes_per_s,
    )
    return build_replica(
        config,
        model="tiny",
        device="cpu",
        dtype="float32",
        blocks_total=blocks_total,
        directory=directory,
    )


@asynccontextmanager
async def member(
    name: str,
    *,
    blocks_total: int = 1200,
    warm_ms: int = 0,
    park_grace_ms: int = PARK_GRACE_MS,
    copy_start_ms: int = CONFIG.copy_start_ms,
) -> AsyncIterator[Member]:
    async with served_plane() as (plane, plane_address):
        replica = await build_member(
            plane_address,
            name,
            blocks_total=blocks_total,
            warm_ms=warm_ms,
            park_grace_ms=park_grace_ms,
            copy_start_ms=copy_start_ms,
        )
        try:
            address = await replica.start()
            yield Member(replica, plane, Peer(ReplicaId(name), address, EPOCH))
        finally:
            await replica.stop(0)
