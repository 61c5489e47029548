"""Both front doors on their ports, in the caller's event loop.

Made for life inside an actor: no signal handlers, no process exit, ports may
be 0, and a port that is taken is an exception. Stopping is gentle: not ready,
no new connections, and what runs has `grace_s` to finish.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass

import grpc
import uvicorn
from fastapi import FastAPI
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from orchestrator.gateway.body import BODY_BYTES_MAX
from orchestrator.gateway.door_tls import DoorTls
from orchestrator.gateway.embedded_server import EmbeddedServer, listen
from orchestrator.gateway.grpc import InferenceService
from orchestrator.gateway.grpc_keys import CheckKeys
from orchestrator.gateway.grpc_messages import ReadMessages
from orchestrator.gateway.health import HealthService
from orchestrator.gateway.http import create_app
from orchestrator.gateway.http_protocol import HttpLimits, guarded_http
from orchestrator.gateway.keyring import Keys
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.gateway.service import Gateway
from protos import inference_pb2, inference_pb2_grpc
from protos.address import CannotListen, host_port

# Longer than the pause between two requests of a chatting person's client.
KEEP_ALIVE_S = 75
LISTEN_BACKLOG = 2048
FAREWELL_S = 2.0  # for the last words of requests that were ended
GRPC_STREAMS_MAX = 1024  # of one connection
GRPC_CONNECTIONS_MAX = 4096  # one serves a whole process of clients

_GRPC_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a port that is taken must be an error
    ("grpc.max_receive_message_length", BODY_BYTES_MAX),
    ("grpc.max_concurrent_streams", GRPC_STREAMS_MAX),
    ("grpc.max_allowed_incoming_connections", GRPC_CONNECTIONS_MAX),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 600_000),
    ("grpc.keepalive_time_ms", 30_000),  # finds clients that vanished without a word
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class BoundPorts:
    """Where the doors are."""

    http: int
    grpc: int


class GatewayServer:
    """HTTP and gRPC over one gateway. `start` once, then `stop` once."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        keys: Keys | None = None,
        http_limits: HttpLimits | None = None,
        host: str = "127.0.0.1",
        http_port: int,
        grpc_port: int,
        tls: DoorTls | None = None,
    ) -> None:
        keys = keys or Keys(RateLimits(RateCounts(gateway.clock)))
        self.app: FastAPI = create_app(gateway, keys)
        self._gateway = gateway
        self._host = host
        self._http_port = http_port
        self._grpc_port = grpc_port
        self._grpc = _grpc_server(gateway, keys)
        self._tls = tls
        self._http = EmbeddedServer(_http_config(self.app, http_limits or HttpLimits(), tls))
        self._http_serving: asyncio.Task[None] | None = None

    async def start(self) -> BoundPorts:
        """Both doors accept when this returns. Raises CannotListen, and then none does."""
        listener = listen(self._host, self._http_port, backlog=LISTEN_BACKLOG)
        try:
            grpc_port = _bind_grpc(self._grpc, self._host, self._grpc_port, self._tls)
        except CannotListen:
            listener.close()
            raise
        await self._grpc.start()
        self._http_serving = asyncio.create_task(self._http.serve(sockets=[listener]))
        await self._http.has_started.wait()
        if not self._http.started:
            await self._http_serving  # raises why
        return BoundPorts(http=int(listener.getsockname()[1]), grpc=grpc_port)

    def check_health(self) -> None:
        """RuntimeError when a door has closed by itself: then it should be replaced."""
        if self._http_serving is None or self._http_serving.done():
            raise RuntimeError("nobody listens for HTTP any more")

    async def stop(self, grace_s: float) -> None:
        """No new work; what runs may finish within `grace_s`, then it is told to come back."""
        self._http.config.timeout_graceful_shutdown = math.ceil(grace_s + FAREWELL_S)
        self._http.should_exit = True
        closing = asyncio.create_task(self._grpc.stop(grace_s + FAREWELL_S))
        await self._gateway.drain(grace_s)
        await closing
        if self._http_serving is not None:
            await self._http_serving


def _http_config(app: FastAPI, limits: HttpLimits, tls: DoorTls | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=guarded_http(limits),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level=logging.ERROR,  # a line for every malformed request would let strangers write
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=LISTEN_BACKLOG,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls.http_context(),
    )


def _grpc_server(gateway: Gateway, keys: Keys) -> grpc.aio.Server:
    server = grpc.aio.server(interceptors=[CheckKeys(keys), ReadMessages()], options=_GRPC_OPTIONS)
    service = inference_pb2.DESCRIPTOR.services_by_name["Inference"].full_name
    health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    inference_pb2_grpc.add_InferenceServicer_to_server(  # type: ignore[no-untyped-call]
        InferenceService(gateway, keys.limits), server
    )
    health_pb2_grpc.add_HealthServicer_to_server(
        HealthService(frozenset({service}), gateway.is_ready), server
    )
    reflection.enable_server_reflection((service, health, reflection.SERVICE_NAME), server)
    return server


def _bind_grpc(server: grpc.aio.Server, host: str, port: int, tls: DoorTls | None) -> int:
    address = host_port(host, port)
    try:
        if tls is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, tls.grpc_credentials())
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {address} for gRPC") from error
    if bound == 0:
        raise CannotListen(f"cannot listen on {address} for gRPC")
    return bound
