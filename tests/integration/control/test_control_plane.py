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

from orchestrator.control.events import Report
from orchestrator.live.control_plane import ControlPlaneConfig
from orchestrator.live.control_services import LEADER_KEY
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos import control_pb2
from protos.address import CannotListen
from protos.convert import record_from_proto, snapshot_from_proto
from protos.messages import Snapshot, Standing
from protos.registry import Leader
from tests.integration.control.fleet import (
    LEASE_MS,
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
from tests.integration.control.until import until_true
from tests.unit.control.reports import A, B, draining_report, record, report


@asynccontextmanager
async def control_plane(config: ControlPlaneConfig = QUICK) -> AsyncIterator[aio.Channel]:
    async with (
        listening(server_of(directory(), config)) as address,
        aio.insecure_channel(address) as channel,
    ):
        yield channel


def open_report(snapshot: Snapshot | None = None) -> Report:
    return Report(snapshot or report(), Standing.OPEN)


async def test_an_attached_replica_is_in_the_status_with_its_last_report() -> None:
    async with control_plane() as channel:
        assert await status(channel) == []
        replica = await attached(channel, open_report())
        await replica.say(report(number=1, used=33))
        await until_status(channel, "active", 1)
        (known,) = await status(channel)
        assert record_from_proto(known.record) == record()
        assert snapshot_from_proto(known.snapshot) == report(number=1, used=33)


async def test_a_drain_reaches_the_replica_and_its_progress_the_operator() -> None:
    async with control_plane() as channel:
        replica = await attached(channel, open_report(replace(report(), sequences_running=2)))
        progress = operator(channel).Drain(control_pb2.DrainRequest(replica_id=A))
        command = await replica.next_command("standing")
        assert (command.epoch, command.term, command.standing) == (1, 1, "leaving")

        async def told() -> tuple[str, int]:
            step = await progress.read()
            return step.state, step.sequences_left

        # Each before the next report: of two that come at once only the last is told.
        assert await told() == ("draining", 2)
        await replica.say(draining_report(1, running=1))
        assert await told() == ("draining", 1)
        await replica.say(draining_report(2))
        assert await told() == ("drained", 0)
        assert await progress.read() is aio.EOF


async def test_an_order_is_repeated_until_the_replica_shows_it() -> None:
    quick = replace(QUICK, orchestrator=replace(PATIENT, resend_ns=1_000_000))
    async with control_plane(quick) as channel:
        replica = await attached(channel, open_report())
        progress = operator(channel).Drain(control_pb2.DrainRequest(replica_id=A))
        for _ in range(3):
            assert (await replica.next_command("standing")).epoch == 1
        progress.cancel()


async def test_draining_a_stranger_is_not_found() -> None:
    async with control_plane() as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await operator(channel).Drain(control_pb2.DrainRequest(replica_id="nobody")).read()
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert "nobody" in (caught.value.details() or "")


async def test_a_drain_of_a_replica_that_goes_away_ends_with_an_error() -> None:
    forgetful = replace(QUICK, orchestrator=replace(PATIENT, absence_ns_max=200_000_000))
    async with control_plane(forgetful) as channel:
        replica = await attached(channel, open_report())
        progress = operator(channel).Drain(control_pb2.DrainRequest(replica_id=A))
        await replica.next_command("standing")
        await replica.leave()
        with pytest.raises(aio.AioRpcError) as caught:
            async for _ in progress:
                pass
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await status(channel) == []


async def test_a_replica_that_reconnects_is_found_as_it_was() -> None:
    async with control_plane() as channel:
        replica = await attached(channel, open_report())
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
    async with control_plane(replace(QUICK, silence_s_max=2.0)) as channel:
        replica = Attached(channel)
        await replica.report(open_report(), introduce=True)
        with pytest.raises(aio.AioRpcError) as caught:
            await replica.next_command("standing")
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_attached_streams_are_bounded() -> None:
    async with control_plane(replace(QUICK, streams_max=1)) as channel:
        await attached(channel, open_report())
        second = Attached(channel)
        with pytest.raises(aio.AioRpcError) as caught:
            await second.call.read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_taken_port_is_an_error_at_once() -> None:
    first = server_of(directory())
    address = await first.start()
    second = server_of(directory(), port=int(address.rpartition(":")[2]))
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
    server = server_of(directory())
    async with aio.insecure_channel(await server.start()) as channel:
        replica = await attached(channel, open_report())
        await server.stop()
        with pytest.raises(aio.AioRpcError):
            await replica.next_command("standing")


# ---- who leads


async def test_a_standby_refuses_replicas_and_operators_and_names_the_leader() -> None:
    registry = directory()
    async with (
        listening(server_of(registry)) as leader,
        listening(server_of(registry)) as standby,
        aio.insecure_channel(standby) as channel,
    ):
        replica = Attached(channel)
        with pytest.raises(aio.AioRpcError) as refused:
            await replica.call.read()
        with pytest.raises(aio.AioRpcError) as unanswered:
            await status(channel)
        for caught in (refused, unanswered):
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert leader in (caught.value.details() or "")
            assert (LEADER_KEY, leader) in tuple(caught.value.trailing_metadata() or ())


class Usurped(MemoryRegistry):
    """A registry in which somebody else may be made the leader."""

    usurper: Leader | None = None

    async def lead(self, candidate: str, address: str) -> int | None:
        return None if self.usurper is not None else await super().lead(candidate, address)

    async def leader(self) -> Leader | None:
        return self.usurper or await super().leader()


async def until_leads(channel: aio.Channel) -> None:
    async def leads() -> bool:
        try:
            await status(channel)
        except aio.AioRpcError:
            return False
        return True

    await until_true(leads, "it leads again")


async def test_a_leader_that_loses_its_lead_ends_streams_and_calls_that_wait() -> None:
    """The next one knows the replica's standing from its first report."""
    registry = Usurped(time.monotonic_ns, RegistryConfig(lease_ms=LEASE_MS))
    async with listening(server_of(registry)) as address, aio.insecure_channel(address) as channel:
        replica = await attached(channel, open_report(replace(report(), sequences_running=1)))
        progress = operator(channel).Drain(control_pb2.DrainRequest(replica_id=A))
        await replica.next_command("standing")
        registry.usurper = Leader("127.0.0.1:9", term=2)
        for call in (replica.next_command("move"), drained(progress)):
            with pytest.raises(aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        registry.usurper = None
        await until_leads(channel)
        again = Attached(channel)
        await again.say(draining_report(1, running=1), introduce=True)
        await until_status(channel, "draining", 1)


async def drained(progress: aio.UnaryStreamCall[object, control_pb2.DrainProgress]) -> None:
    async for _ in progress:
        pass
