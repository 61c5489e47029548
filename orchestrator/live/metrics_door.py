"""A port that answers `GET /metrics` and nothing else, in the clear, for Prometheus.

Of a process whose own port speaks gRPC. There is nothing in it that names a
request, a tenant or a text.
"""

from __future__ import annotations

import asyncio
from typing import Self

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.gateway.embedded_server import EmbeddedServer, listen

CALLS_MAX = 16  # Prometheus asks once in some seconds; beyond it is answered 503


class MetricsDoor:
    """Opened and closed once, on one event loop."""

    def __init__(self, server: EmbeddedServer, serving: asyncio.Task[None], port: int) -> None:
        self.port = port
        self._server = server
        self._serving = serving

    @classmethod
    async def open(cls, registry: CollectorRegistry, host: str, port: int) -> Self:
        """Answers when this returns. Raises CannotListen."""
        listener = listen(host, port, backlog=CALLS_MAX)
        server = EmbeddedServer(_config(registry))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.has_started.wait()
        return cls(server, serving, int(listener.getsockname()[1]))

    async def close(self) -> None:
        """Nobody is answered any more."""
        self._server.should_exit = True
        await self._serving


def _config(registry: CollectorRegistry) -> uvicorn.Config:
    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return uvicorn.Config(
        Starlette(routes=[Route("/metrics", metrics)]),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CALLS_MAX,
        timeout_graceful_shutdown=1,
    )
