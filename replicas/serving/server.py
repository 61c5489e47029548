"""The replica's gRPC listener: options, health and reflection around its services.

With mutual TLS only members get in. A kubelet's probe is none and speaks no
TLS: for it health may be answered on another port, in the clear, and nothing
else is.

Two health names. The empty one says whether the process is sound: an
orchestrator should restart it when it is not. The data service's own name says
whether to send new work here: a draining replica is sound but not serving.
"""

from __future__ import annotations

import socket

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos import control_pb2, control_pb2_grpc
from protos.address import CannotListen, host_port
from protos.health_door import open_health_door
from protos.transport import Transport

DATA_SERVICE = control_pb2.DESCRIPTOR.services_by_name["ReplicaData"].full_name
PEER_SERVICE = control_pb2.DESCRIPTOR.services_by_name["ReplicaPeer"].full_name

# A prompt of a million tokens takes 4 MiB on the wire.
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
# What a message has beside the payload of a block: its tokens, names and checksum.
FRAME_BYTES = 1024 * 1024
# Somebody who connects and says nothing, or no TLS where that is spoken.
HANDSHAKE_MS = 10_000
# A peer that vanished without closing is noticed within this much silence.
KEEPALIVE_MS = 10_000
KEEPALIVE_TIMEOUT_MS = 5_000


def channel_options(message_bytes_max: int = MESSAGE_BYTES_MAX) -> tuple[tuple[str, int], ...]:
    """Of a connection to another member."""
    return (
        ("grpc.max_receive_message_length", message_bytes_max),
        ("grpc.max_send_message_length", message_bytes_max),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    )


def server_options(message_bytes_max: int = MESSAGE_BYTES_MAX) -> tuple[tuple[str, int], ...]:
    """Of a listener for other members."""
    return (
        *channel_options(message_bytes_max),
        ("grpc.so_reuseport", 0),  # a port that is taken is an error, not shared
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
    )


def message_bytes_for(block_bytes: int) -> int:
    """A limit for messages among replicas whose blocks are so large: one always fits."""
    return max(MESSAGE_BYTES_MAX, block_bytes + FRAME_BYTES)


class ReplicaServer:
    """The listening end of one replica."""

    def __init__(
        self,
        data_service: control_pb2_grpc.ReplicaDataServicer,
        peer_service: control_pb2_grpc.ReplicaPeerServicer,
        transport: Transport,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> None:
        self._transport = transport
        self._health_door: aio.Server | None = None
        self._server = aio.server(options=server_options(message_bytes_max))
        self._health = health.aio.HealthServicer()
        control_pb2_grpc.add_ReplicaDataServicer_to_server(  # type: ignore[no-untyped-call]
            data_service, self._server
        )
        control_pb2_grpc.add_ReplicaPeerServicer_to_server(  # type: ignore[no-untyped-call]
            peer_service, self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        services = (DATA_SERVICE, PEER_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(services, self._server)

    async def start(self, host: str, port: int, health_port: int | None = None) -> int:
        """Listen; the port that was bound. Raises CannotListen."""
        address = host_port(host, port)
        try:
            _try_to_bind(host, port)
            bound = self._transport.bind(self._server, address)
        except (OSError, RuntimeError) as error:
            raise CannotListen(f"cannot listen on {address}: {error}") from None
        if health_port is not None:
            self._health_door = await open_health_door(self._health, host, health_port)
        await self._server.start()
        return bound

    async def tell_serving(self, is_serving: bool) -> None:
        """Whether to send new work here, from now on; the process is sound either way."""
        status = health_pb2.HealthCheckResponse
        await self._health.set(DATA_SERVICE, status.SERVING if is_serving else status.NOT_SERVING)

    async def declare_unsound(self) -> None:
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float) -> None:
        """No new streams; those that are open may end by themselves within the grace."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
        if self._health_door is not None:
            await self._health_door.stop(None)


def _try_to_bind(host: str, port: int) -> None:
    """Raises an OSError that names the cause, which gRPC only writes to standard error."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
