"""The control plane over real gRPC on loopback: replicas attach, operators ask."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestrator.control.orchestrator import OrchestratorConfig
from orchestrator.live.control_plane import ControlPlaneConfig, ControlPlaneServer
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos import control_pb2, control_pb2_grpc
from protos.address import CannotListen
from protos.convert import (
    record_from_proto,
    record_to_proto,
    snapshot_from_proto,
    snapshot_to_proto,
)
from protos.messages import Snapshot
from protos.registry import RegistryUnavailable
from tests.integration.control.until import until_true
from tests.unit.control.reports import A, B, draining_report, record, report

QUICK = ControlPlaneConfig(tick_s=0.02, announce_s=0.02, stop_grace_s=0.0)


class Directory(MemoryRegistry):
    """A registry that may be missing."""

    def __init__(self) -> None:
        super().__init__(time.monotonic_ns, RegistryConfig())
        self.is_down = False

    async def announce_control(self, address: str) -> None:
        if self.is_down:
            raise RegistryUnavailable("the registry is down")
        await super().announce_control(address)


def server_of(
    directory: Directory, config: ControlPlaneConfig = QUICK, port: int = 0
) -> ControlPlaneServer:
    return ControlPlaneServer(
        directory, host="127.0.0.1", port=port, advertise_host="127.0.0.1", config=config
    )


@asynccontextmanager
async def control_plane(config: ControlPlaneConfig = QUICK) -> AsyncIterator[aio.Channel]:
    server = server_of(Directory(), config)
    try:
        async with aio.insecure_channel(await server.start()) as channel:
            yield channel
    finally:
        await server.stop()


class Attached:
    """A replica's end of one stream."""

    def __init__(self, channel: aio.Channel) -> None:
        stub = control_pb2_grpc.ControlPlaneStub(channel)  # type: ignore[no-untyped-call]
        self.call: aio.StreamStreamCall[control_pb2.ReplicaReport, control_pb2.ControlCommand] = (
            stub.Attach()
        )

    async def say(self, snapshot: Snapshot, *, introduce: bool = False) -> None:
        message = control_pb2.ReplicaReport(snapshot=snapshot_to_proto(snapshot))
        if introduce:
            message.record.CopyFrom(record_to_proto(record()))
        await self.call.write(message)

    async def next_command(self) -> control_pb2.ControlCommand:
        command = await self.call.read()
        assert isinstance(command, control_pb2.ControlCommand)
        return command

    async def leave(self) -> None:
        await self.call.done_writing()
        while await self.call.read() is not aio.EOF:
            pass


async def status(channel: aio.Channel) -> list[control_pb2.ReplicaStatus]:
    stub = control_pb2_grpc.OperatorStub(channel)  # type: ignore[no-untyped-call]
    return list((await stub.Status(control_pb2.StatusRequest())).replicas)


async def until_status(channel: aio.Channel, state: str, number: int) -> None:
    async def is_so() -> bool:
        return (state, number) in [(r.state, r.snapshot.number) for r in await status(channel)]

    await until_true(is_so, f"report {number} and state {state}")


async def attached(channel: aio.Channel, snapshot: Snapshot | None = None) -> Attached:
    replica = Attached(channel)
    first = snapshot or report()
    await replica.say(first, introduce=True)
    await until_status(channel, "active", first.number)
    return replica


async def test_an_attached_replica_is_in_the_status_with_its_last_report() -> None:
    async with control_plane() as channel:
        assert await status(channel) == []
        replica = await attached(channel)
        await replica.say(report(number=1, used=33))
        await until_status(channel, "active", 1)
        (known,) = await status(channel)
        assert record_from_proto(known.record) == record()
        assert snapshot_from_proto(known.snapshot) == report(number=1, used=33)


async def test_a_drain_reaches_the_replica_and_its_progress_the_operator() -> None:
    async with control_plane() as channel:
        replica = await attached(channel, replace(report(), sequences_running=2))
        operator = control_pb2_grpc.OperatorStub(channel)  # type: ignore[no-untyped-call]
        progress = operator.Drain(control_pb2.DrainRequest(replica_id=A))
        command = await replica.next_command()
        assert (command.epoch, command.WhichOneof("command")) == (1, "drain")
        await replica.say(draining_report(1, running=1))
        await until_status(channel, "draining", 1)
        await replica.say(draining_report(2))
        told = [(step.state, step.sequences_left) async for step in progress]
        assert told == [("draining", 2), ("draining", 1), ("drained", 0)]


async def test_an_order_is_repeated_until_the_replica_shows_it() -> None:
    quick = replace(QUICK, orchestrator=OrchestratorConfig(drain_resend_ns=1_000_000))
    async with control_plane(quick) as channel:
        replica = await attached(channel)
        operator = control_pb2_grpc.OperatorStub(channel)  # type: ignore[no-untyped-call]
        progress = operator.Drain(control_pb2.DrainRequest(replica_id=A))
        for _ in range(3):
            assert (await replica.next_command()).epoch == 1
        progress.cancel()


async def test_draining_a_stranger_is_not_found() -> None:
    async with control_plane() as channel:
        operator = control_pb2_grpc.OperatorStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(aio.AioRpcError) as caught:
            await operator.Drain(control_pb2.DrainRequest(replica_id="nobody")).read()
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert "nobody" in (caught.value.details() or "")


async def test_a_drain_of_a_replica_that_goes_away_ends_with_an_error() -> None:
    forgetful = replace(QUICK, orchestrator=OrchestratorConfig(absence_ns_max=200_000_000))
    async with control_plane(forgetful) as channel:
        replica = await attached(channel)
        operator = control_pb2_grpc.OperatorStub(channel)  # type: ignore[no-untyped-call]
        progress = operator.Drain(control_pb2.DrainRequest(replica_id=A))
        await replica.next_command()
        await replica.leave()
        with pytest.raises(aio.AioRpcError) as caught:
            async for _ in progress:
                pass
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await status(channel) == []


async def test_a_replica_that_reconnects_is_found_as_it_was() -> None:
    async with control_plane() as channel:
        replica = await attached(channel)
        await replica.say(draining_report(1, running=1))
        await until_status(channel, "draining", 1)
        await replica.leave()
        again = Attached(channel)
        await again.say(draining_report(2, running=1), introduce=True)
        await until_status(channel, "draining", 2)


@pytest.mark.parametrize(
    ("first", "introduce"),
    [
        pytest.param(report(), False, id="no record"),
        pytest.param(replace(report(), replica_id=B), True, id="another replica's snapshot"),
    ],
)
async def test_a_stream_that_breaks_the_protocol_is_ended_with_a_sentence(
    first: Snapshot, introduce: bool
) -> None:
    async with control_plane() as channel:
        replica = Attached(channel)
        await replica.say(first, introduce=introduce)
        with pytest.raises(aio.AioRpcError) as caught:
            await replica.call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "snapshot" in (caught.value.details() or "")
        assert await status(channel) == []


async def test_a_silent_stream_is_ended() -> None:
    async with control_plane(replace(QUICK, silence_s_max=0.2)) as channel:
        replica = await attached(channel)
        with pytest.raises(aio.AioRpcError) as caught:
            await replica.call.read()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_attached_streams_are_bounded() -> None:
    async with control_plane(replace(QUICK, streams_max=1)) as channel:
        await attached(channel)
        second = Attached(channel)
        with pytest.raises(aio.AioRpcError) as caught:
            await second.call.read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_it_announces_itself_and_waits_out_a_missing_registry() -> None:
    directory = Directory()
    directory.is_down = True
    server = server_of(directory)
    address = await server.start()
    assert await directory.control_address() is None
    directory.is_down = False

    async def is_found() -> bool:
        return await directory.control_address() == address

    await until_true(is_found, "the announcement")
    await server.stop()


async def test_a_taken_port_is_an_error_at_once() -> None:
    first = server_of(Directory())
    address = await first.start()
    second = server_of(Directory(), port=int(address.rpartition(":")[2]))
    with pytest.raises(CannotListen):
        await second.start()
    await second.stop()
    await first.stop()


async def test_health_and_reflection_answer() -> None:
    async with control_plane() as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "blockyard.control.v1.ControlPlane", "blockyard.control.v1.Operator"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await call.read()
        names = {service.name for service in answer.list_services_response.service}
        assert {"blockyard.control.v1.ControlPlane", "blockyard.control.v1.Operator"} <= names
        await call.done_writing()


async def test_stopping_ends_every_stream() -> None:
    server = server_of(Directory())
    async with aio.insecure_channel(await server.start()) as channel:
        replica = await attached(channel)
        await server.stop()
        with pytest.raises(aio.AioRpcError):
            await replica.call.read()
