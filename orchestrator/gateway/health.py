"""gRPC's standard health service, answered from what is true at this moment.

`Check` asks the gateway; `Watch` reports changes within a poll. (The library's
own servicer keeps a copy of the status that somebody would have to refresh.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

WATCH_PERIOD_S = 0.5

_Response = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """SERVING or NOT_SERVING for the server ("") and each of its services."""

    def __init__(self, services: frozenset[str], is_ready: Callable[[], bool]) -> None:
        self._services = services | {""}
        self._is_ready = is_ready

    async def Check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return _Response(status=self._status(request.service))

    async def Watch(
        self, request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        reported = None
        while True:
            status = self._status(request.service)
            if status != reported:
                reported = status
                yield _Response(status=status)
            await asyncio.sleep(WATCH_PERIOD_S)

    def _status(self, service: str) -> int:
        if service not in self._services:
            return int(_Response.SERVICE_UNKNOWN)
        return int(_Response.SERVING if self._is_ready() else _Response.NOT_SERVING)
