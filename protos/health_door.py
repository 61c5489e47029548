"""A port that answers whether a member is well, and nothing else, in the clear.

A kubelet's gRPC probe speaks no TLS. Where the member's own port demands a
certificate, the probe asks here.
"""

from __future__ import annotations

from grpc import aio
from grpc_health.v1 import health, health_pb2_grpc

from protos.address import CannotListen, host_port

CALLS_MAX = 16  # a probe asks once in seconds


async def open_health_door(servicer: health.aio.HealthServicer, host: str, port: int) -> aio.Server:
    """Listens when this returns. Raises CannotListen."""
    server = aio.server(maximum_concurrent_rpcs=CALLS_MAX, options=(("grpc.so_reuseport", 0),))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = host_port(host, port)
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {address} for health probes") from error
    await server.start()
    return server
