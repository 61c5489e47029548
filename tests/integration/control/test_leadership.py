"""Two control planes over real gRPC: one leads, its health says so, the other takes over."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.live.control_plane import ControlPlaneConfig, ControlPlaneServer
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos import control_pb2, control_pb2_grpc
from protos.registry import RegistryUnavailable
from protos.transport import Transport
from tests.integration.control.until import until_true

LEASE_MS = 600_000
# Leases outlast a slow test, where it is not about their end.
CONFIG = ControlPlaneConfig(tick_s=0.01, renew_s=0.01, lease_s=LEASE_MS / 1000, stop_grace_s=0.0)
SERVICE = "blockyard.control.v1.ControlPlane"


class Directory(MemoryRegistry):
    """A registry that may be missing for those who would lead."""

    def __init__(self, lease_ms: int = LEASE_MS) -> None:
        super().__init__(time.monotonic_ns, RegistryConfig(lease_ms=lease_ms))
        self.is_down = False

    async def keep_policy(self, term: int, knobs: Mapping[str, str]) -> bool:
        if self.is_down:
            raise RegistryUnavailable("the registry is down")
        return await super().keep_policy(term, knobs)

    async def lead(self, candidate: str, address: str) -> int | None:
        if self.is_down:
            raise RegistryUnavailable("the registry is down")
        return await super().lead(candidate, address)


@dataclass
class Running:
    """One control plane, and what its health service says."""

    server: ControlPlaneServer
    address: str
    channel: aio.Channel

    async def serves(self, service: str) -> bool:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await health_pb2_grpc.HealthStub(self.channel).Check(request)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def leads(self) -> bool:
        return await self.serves(SERVICE)


@asynccontextmanager
async def control_plane(
    directory: Directory, config: ControlPlaneConfig = CONFIG
) -> AsyncIterator[Running]:
    server = ControlPlaneServer(
        directory,
        host="127.0.0.1",
        port=0,
        advertise_host="127.0.0.1",
        transport=Transport(),
        config=config,
    )
    try:
        address = await server.start()
        async with aio.insecure_channel(address) as channel:
            yield Running(server, address, channel)
    finally:
        await server.stop()


async def test_the_first_leads_from_its_start_and_the_second_stands_by() -> None:
    directory = Directory()
    async with control_plane(directory) as one, control_plane(directory) as two:
        assert await one.leads()
        assert not await two.leads()
        assert await two.serves(""), "a standby is a healthy process"
        two.server.check_health()
        leader = await directory.leader()
        assert leader is not None and leader.address == one.address


async def test_the_leader_is_named_by_the_port_that_it_advertises() -> None:
    directory = Directory()
    server = ControlPlaneServer(
        directory,
        host="127.0.0.1",
        port=0,
        advertise_host="127.0.0.1",
        advertise_port=4711,
        transport=Transport(),
    )
    try:
        assert await server.start() == "127.0.0.1:4711"
        leader = await directory.leader()
        assert leader is not None and leader.address == "127.0.0.1:4711"
    finally:
        await server.stop()


async def test_a_leader_that_stops_leaves_the_lead_to_the_standby_at_once() -> None:
    """Its lease has ten minutes to go: only a resignation ends it in time."""
    directory = Directory()
    async with control_plane(directory) as first, control_plane(directory) as standby:
        await first.server.stop()
        await until_true(standby.leads, "the standby leads")
        leader = await directory.leader()
        assert leader is not None
        assert (leader.address, leader.term) == (standby.address, 2)


async def test_a_leader_without_a_registry_leads_no_longer_than_its_lease() -> None:
    directory = Directory(lease_ms=200)
    async with control_plane(directory, replace(CONFIG, lease_s=0.2)) as alone:
        await until_true(alone.leads, "it leads")
        directory.is_down = True

        async def stands_by() -> bool:
            return not await alone.leads()

        await until_true(stands_by, "its lease is over")
        assert await alone.serves("")
        alone.server.check_health()
        directory.is_down = False
        await until_true(alone.leads, "it leads again")


async def turn(one: Running, knob: str, value: str) -> None:
    operator = control_pb2_grpc.OperatorStub(one.channel)  # type: ignore[no-untyped-call]
    await operator.SetPolicy(control_pb2.SetPolicyRequest(knob=knob, value=value))


async def knobs(one: Running) -> dict[str, str]:
    operator = control_pb2_grpc.OperatorStub(one.channel)  # type: ignore[no-untyped-call]
    policy = await operator.GetPolicy(control_pb2.GetPolicyRequest())
    return {knob.name: knob.value for knob in policy.knobs}


async def test_knobs_that_were_turned_outlive_their_leader() -> None:
    """Turned so that each alone would contradict the default of the other."""
    directory = Directory()
    async with control_plane(directory) as first, control_plane(directory) as standby:
        await turn(first, "gap_stop", "0.5")
        await turn(first, "gap_begin", "1.0")
        await turn(first, "enabled", "off")
        turned = await knobs(first)
        await first.server.stop()
        await until_true(standby.leads, "the standby leads")
        assert await knobs(standby) == turned
        assert (turned["gap_begin"], turned["enabled"]) == ("1.0", "off")


async def test_knobs_work_while_the_registry_is_away_and_are_kept_when_it_is_back() -> None:
    directory = Directory()
    async with control_plane(directory) as alone:
        directory.is_down = True
        await turn(alone, "enabled", "off")
        assert (await knobs(alone))["enabled"] == "off"
        assert await directory.policy() == {}
        directory.is_down = False

        async def kept() -> bool:
            return await directory.policy() == {"enabled": "off"}

        await until_true(kept, "they are kept")


async def test_kept_knobs_that_make_no_sense_do_not_keep_anybody_from_leading() -> None:
    directory = Directory()
    term = await directory.lead("newer", "newer:1")
    assert term is not None
    await directory.keep_policy(term, {"knob_of_tomorrow": "1"})
    await directory.resign("newer")
    async with control_plane(directory) as older:
        assert await older.leads()
        assert (await knobs(older))["enabled"] == "on"


async def test_a_control_plane_starts_without_a_registry_and_leads_once_there_is_one() -> None:
    directory = Directory()
    directory.is_down = True
    async with control_plane(directory) as alone:
        assert not await alone.leads()
        directory.is_down = False
        await until_true(alone.leads, "it leads")


def test_a_leader_believes_in_its_lease_no_longer_than_the_registry_does() -> None:
    assert ControlPlaneConfig().lease_s * 1000 <= RegistryConfig().lease_ms
