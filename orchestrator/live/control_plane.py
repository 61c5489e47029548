"""The control plane's process: a listener, a heartbeat and a candidacy.

Several may run; the registry lets one of them lead (candidacy.py), and only
that one ticks and gives orders. The others stand by: a standby is healthy as
a process, while its services are NOT_SERVING to whoever asks for their health.
Nobody waits for any of them: replicas and gateways serve without a leader, and
find it by the address that the registry names. While the registry is missing,
nobody leads once the leader's lease is over: its streams end, and rebalancing
and the operator's verbs wait.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from orchestrator.control.orchestrator import OrchestratorConfig
from orchestrator.live.candidacy import Candidacy
from orchestrator.live.clock import OsClock
from orchestrator.live.control_metrics import ControlCollector
from orchestrator.live.control_room import ControlRoom
from orchestrator.live.control_services import ControlPlaneService
from orchestrator.live.metrics_door import MetricsDoor
from orchestrator.live.operator_service import OperatorService
from orchestrator.live.policy_keeper import PolicyKeeper
from protos import control_pb2, control_pb2_grpc
from protos.address import CannotListen, host_port
from protos.health_door import open_health_door
from protos.registry import ControlDirectory
from protos.transport import Transport

SERVICES = control_pb2.DESCRIPTOR.services_by_name
NAMES = (SERVICES["ControlPlane"].full_name, SERVICES["Operator"].full_name)
OPERATOR_CALLS_MAX = 64
HANDSHAKE_MS = 10_000  # of somebody who connects and says nothing


@dataclass(frozen=True, slots=True)
class ControlPlaneConfig:
    orchestrator: OrchestratorConfig = field(default_factory=OrchestratorConfig)
    tick_s: float = 0.25
    lease_s: float = 3.0  # no longer than the registry's
    renew_s: float = 1.0  # so that one answer may be lost, and a standby is not late
    streams_max: int = 1024
    commands_max: int = 64  # unread commands of one stream
    silence_s_max: float = 10.0  # of an attached replica
    stop_grace_s: float = 1.0


class ControlPlaneServer:
    """Started and stopped once, on one event loop."""

    def __init__(
        self,
        directory: ControlDirectory,
        *,
        host: str,
        port: int,
        advertise_host: str,
        advertise_port: int | None = None,
        health_port: int | None = None,
        metrics_port: int | None = None,
        transport: Transport,
        config: ControlPlaneConfig | None = None,
    ) -> None:
        self._health_port = health_port
        self._metrics_port = metrics_port
        self._transport = transport
        self._directory = directory
        self._host = host
        self._port = port
        self._advertise_host = advertise_host
        self._advertise_port = advertise_port
        self._config = config or ControlPlaneConfig()
        self._clock = OsClock()
        self._room = ControlRoom(
            self._config.orchestrator,
            self._clock,
            streams_max=self._config.streams_max,
            commands_max=self._config.commands_max,
        )
        self._health = health.aio.HealthServicer()
        self._keeper = PolicyKeeper(directory, self._room, interval_s=self._config.tick_s)
        self._candidacy: Candidacy | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._server: aio.Server | None = None
        self._health_door: aio.Server | None = None
        self._metrics = CollectorRegistry()
        self._metrics.register(ControlCollector(self._room))
        self._metrics_door: MetricsDoor | None = None

    async def start(self) -> str:
        """Listen and ask for the lead once; the address for others. Raises CannotListen."""
        self._server = server = self._build_server()
        try:
            port = self._transport.bind(server, host_port(self._host, self._port))
        except RuntimeError as error:
            raise CannotListen(f"cannot listen on port {self._port} of {self._host}") from error
        if self._health_port is not None:
            self._health_door = await open_health_door(self._health, self._host, self._health_port)
        if self._metrics_port is not None:
            self._metrics_door = await MetricsDoor.open(
                self._metrics, self._host, self._metrics_port
            )
        await server.start()
        address = host_port(self._advertise_host, self._advertise_port or port)
        self._candidacy = candidacy = Candidacy(
            self._directory,
            address,
            lease_s=self._config.lease_s,
            renew_s=self._config.renew_s,
            on_lead=self._room.lead,
            on_follow=self._room.follow,
        )
        await candidacy.contend()
        await self._show_health(candidacy)
        self._tasks = [
            asyncio.create_task(self._tick_forever(candidacy)),
            asyncio.create_task(candidacy.run()),
            asyncio.create_task(self._keeper.run()),
        ]
        return address

    def check_health(self) -> None:
        """RuntimeError when a heartbeat has died: then it should be replaced."""
        for task in self._tasks:
            if task.done():
                raise RuntimeError("the control plane stands still") from task.exception()

    async def stop(self) -> None:
        """Resign and end every stream; replicas look for the next leader."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._keeper.keep()
        if self._candidacy is not None:
            await self._candidacy.resign()
        await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(self._config.stop_grace_s)
        if self._health_door is not None:
            await self._health_door.stop(None)
        if self._metrics_door is not None:
            await self._metrics_door.close()

    def _build_server(self) -> aio.Server:
        server = aio.server(
            maximum_concurrent_rpcs=self._config.streams_max + OPERATOR_CALLS_MAX,
            options=(
                ("grpc.so_reuseport", 0),  # a port that is taken is an error, not shared
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
            ),
        )
        control_pb2_grpc.add_ControlPlaneServicer_to_server(  # type: ignore[no-untyped-call]
            ControlPlaneService(self._room, silence_s_max=self._config.silence_s_max), server
        )
        control_pb2_grpc.add_OperatorServicer_to_server(  # type: ignore[no-untyped-call]
            OperatorService(self._room), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (*NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server

    async def _tick_forever(self, candidacy: Candidacy) -> None:
        while True:
            await self._show_health(candidacy)
            if candidacy.leads:
                self._room.apply()
            await self._clock.sleep(self._config.tick_s)

    async def _show_health(self, candidacy: Candidacy) -> None:
        answer = health_pb2.HealthCheckResponse
        for name in NAMES:
            await self._health.set(name, answer.SERVING if candidacy.leads else answer.NOT_SERVING)
