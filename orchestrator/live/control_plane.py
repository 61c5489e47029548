"""The control plane's process: a listener, a heartbeat and an announcement.

Nobody waits for it: replicas and gateways serve without it, and replicas find
it by the address that it announces in the registry again and again. While the
registry is missing, nobody new finds it; streams that are attached go on.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from orchestrator.control.orchestrator import Orchestrator, OrchestratorConfig
from orchestrator.live.clock import OsClock
from orchestrator.live.control_room import ControlRoom
from orchestrator.live.control_services import ControlPlaneService, OperatorService
from protos import control_pb2, control_pb2_grpc
from protos.address import CannotListen, host_port
from protos.registry import ControlDirectory, RegistryUnavailable

log = logging.getLogger(__name__)

SERVICES = control_pb2.DESCRIPTOR.services_by_name
NAMES = (SERVICES["ControlPlane"].full_name, SERVICES["Operator"].full_name)
OPERATOR_CALLS_MAX = 64


@dataclass(frozen=True, slots=True)
class ControlPlaneConfig:
    orchestrator: OrchestratorConfig = field(default_factory=OrchestratorConfig)
    tick_s: float = 0.25
    announce_s: float = 1.0  # a third of the registry's default lease
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
        config: ControlPlaneConfig | None = None,
    ) -> None:
        self._directory = directory
        self._host = host
        self._port = port
        self._advertise_host = advertise_host
        self._config = config or ControlPlaneConfig()
        self._clock = OsClock()
        self._room = ControlRoom(
            Orchestrator(self._config.orchestrator),
            self._clock,
            streams_max=self._config.streams_max,
            commands_max=self._config.commands_max,
        )
        self._health = health.aio.HealthServicer()
        self._tasks: list[asyncio.Task[None]] = []
        self._server: aio.Server | None = None

    async def start(self) -> str:
        """Listen and announce; the address for others. Raises CannotListen."""
        self._server = server = self._build_server()
        try:
            port: int = server.add_insecure_port(host_port(self._host, self._port))
        except RuntimeError as error:
            raise CannotListen(f"cannot listen on port {self._port} of {self._host}") from error
        await server.start()
        for name in NAMES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        address = host_port(self._advertise_host, port)
        self._tasks = [
            asyncio.create_task(self._tick_forever()),
            asyncio.create_task(self._announce_forever(address)),
        ]
        return address

    def check_health(self) -> None:
        """RuntimeError when a heartbeat has died: then it should be replaced."""
        for task in self._tasks:
            if task.done():
                raise RuntimeError("the control plane stands still") from task.exception()

    async def stop(self) -> None:
        """End every stream; replicas look for the next control plane."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(self._config.stop_grace_s)

    def _build_server(self) -> aio.Server:
        server = aio.server(
            maximum_concurrent_rpcs=self._config.streams_max + OPERATOR_CALLS_MAX,
            options=(("grpc.so_reuseport", 0),),  # a port that is taken is an error, not shared
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

    async def _tick_forever(self) -> None:
        while True:
            self._room.apply()
            await self._clock.sleep(self._config.tick_s)

    async def _announce_forever(self, address: str) -> None:
        while True:
            try:
                await self._directory.announce_control(address)
            except RegistryUnavailable as error:
                log.warning("the control plane could not announce itself: %s", error)
            await self._clock.sleep(self._config.announce_s)
