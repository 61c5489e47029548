"""The replica's stream to the control plane, against a small real gRPC server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from grpc import aio

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos import control_pb2, control_pb2_grpc
from protos.convert import record_from_proto
from replicas.serving import control_link
from tests.integration.replica.gateway import running
from tests.unit.shell.counting import CARD, CONFIG, request
from tests.unit.shell.eventually import eventually

QUICK = replace(CONFIG, retry_ms_max=20)


class ControlPlane(control_pb2_grpc.ControlPlaneServicer):
    """Keeps what each stream reported; sends what it is told to."""

    def __init__(self) -> None:
        self.streams: list[list[control_pb2.ReplicaReport]] = []
        self.commands: asyncio.Queue[control_pb2.ControlCommand] = asyncio.Queue()

    async def Attach(
        self,
        request_iterator: AsyncIterator[control_pb2.ReplicaReport],
        context: aio.ServicerContext[control_pb2.ReplicaReport, control_pb2.ControlCommand],
    ) -> None:
        reports: list[control_pb2.ReplicaReport] = []
        self.streams.append(reports)
        sending = asyncio.create_task(self._send(context))
        try:
            async for report in request_iterator:
                reports.append(report)
        finally:
            sending.cancel()

    async def _send(
        self, context: aio.ServicerContext[control_pb2.ReplicaReport, control_pb2.ControlCommand]
    ) -> None:
        while True:
            await context.write(await self.commands.get())

    def drain(self, epoch: int) -> None:
        command = control_pb2.ControlCommand(epoch=epoch, drain=control_pb2.DrainCommand())
        self.commands.put_nowait(command)

    def has_reports(self, stream: int, count: int = 1) -> bool:
        return len(self.streams) > stream and len(self.streams[stream]) >= count


@asynccontextmanager
async def listening(plane: ControlPlane, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    control_pb2_grpc.add_ControlPlaneServicer_to_server(  # type: ignore[no-untyped-call]
        plane, server
    )
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def registry() -> MemoryRegistry:
    return MemoryRegistry(time.monotonic_ns, RegistryConfig(lease_ms=600_000))


async def test_the_first_report_names_the_replica_and_the_others_do_not() -> None:
    plane, known = ControlPlane(), registry()
    async with listening(plane) as address:
        await known.announce_control(address)
        async with running(QUICK, directory=known) as served:
            await eventually(lambda: plane.has_reports(0, 3), "three reports")
            first, *others = plane.streams[0]
            record = record_from_proto(first.record)
            assert (record.address, record.card) == (served.address, CARD)
            assert not any(report.HasField("record") for report in others)
            numbers = [report.snapshot.number for report in plane.streams[0]]
            assert numbers == sorted(set(numbers))


async def test_a_drain_command_is_carried_out_and_reported_at_once() -> None:
    plane, known = ControlPlane(), registry()
    slow = replace(QUICK, report_interval_ms=600_000)
    async with listening(plane) as address:
        await known.announce_control(address)
        async with running(slow, directory=known) as served:
            await eventually(lambda: plane.has_reports(0), "the first report")
            plane.drain(epoch=0)
            await eventually(
                lambda: any(report.snapshot.draining for report in plane.streams[0]),
                "a report that it drains, long before the interval is over",
            )
            assert served.engine.draining


async def test_a_command_for_another_epoch_is_ignored() -> None:
    plane, known = ControlPlane(), registry()
    async with listening(plane) as address:
        await known.announce_control(address)
        async with running(QUICK, directory=known) as served:
            await eventually(lambda: plane.has_reports(0), "the first report")
            plane.drain(epoch=41)
            await eventually(plane.commands.empty, "the command is on its way")
            so_far = len(plane.streams[0])
            await eventually(lambda: plane.has_reports(0, so_far + 3), "more reports")
            assert not served.engine.draining


async def test_a_new_epoch_is_a_new_stream_with_the_record() -> None:
    plane, known = ControlPlane(), registry()
    async with listening(plane) as address:
        await known.announce_control(address)
        quick = replace(QUICK, lease_ms=60)  # renews every 20 ms, and so notices
        async with running(quick, registry=known, directory=known):
            await eventually(
                lambda: any(s and s[0].snapshot.epoch == 1 for s in plane.streams), "epoch 1"
            )
            await known.join(record_from_proto(plane.streams[-1][0].record))  # fences epoch 1
            await eventually(
                lambda: any(s and s[0].snapshot.epoch == 3 for s in plane.streams), "epoch 3"
            )
            for stream in plane.streams:
                assert len({report.snapshot.epoch for report in stream}) <= 1
                assert all(report.HasField("record") for report in stream[:1])


async def test_a_control_plane_that_comes_late_or_comes_back_is_found() -> None:
    plane, known = ControlPlane(), registry()
    async with running(QUICK, directory=known) as served, served.attached() as gateway:
        asked = request("a")
        await gateway.submit(asked)
        await gateway.finished(asked)  # nobody was needed for that
        async with listening(plane) as address:
            await known.announce_control(address)
            await eventually(lambda: plane.has_reports(0), "it came late")
        async with listening(plane, address):
            await eventually(lambda: plane.has_reports(1), "it came back")
        served.replica.check_health()


async def test_it_follows_the_directory_to_another_control_plane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_link, "DIRECTORY_CHECK_S", 0.01)
    former, leader, known = ControlPlane(), ControlPlane(), registry()
    async with listening(former) as first, listening(leader) as second:
        await known.announce_control(first)
        async with running(QUICK, directory=known):
            await eventually(lambda: former.has_reports(0), "the first leader")
            await known.announce_control(second)
            await eventually(lambda: leader.has_reports(0), "the next leader")
