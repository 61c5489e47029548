"""What a replica answers before it is one: that it starts, and how far it is.

A model may take many minutes to come and to load. Meanwhile whoever asks for
health hears that the process is sound and takes no work, and in the metadata
`blockyard-doing`, which `grpcurl -v` shows, what it does. It is asked where
the replica will answer later, so that port is given up before the replica
listens. Where any free port will do nobody could ask, and nothing is opened.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio
from grpc_health.v1 import health, health_pb2

from protos.health_door import open_health_door
from replicas.config import ReplicaConfig
from replicas.delivery.progress import LOG_PERIOD_S, LineWatch, Progress
from replicas.serving.server import DATA_SERVICE

DOING = "blockyard-doing"


class Starting:
    """Hears from a thread how the model comes, and says so in the log and to whoever asks."""

    period_s = 0.5

    def __init__(self) -> None:
        self.doing = "loading the model"
        self._lines = LineWatch()
        self._told_s = time.monotonic()

    def tell(self, progress: Progress) -> None:
        verb = "loading" if progress.is_here else "fetching"
        self.doing = f"{verb} {progress}"
        if time.monotonic() - self._told_s >= LOG_PERIOD_S:
            self._told_s = time.monotonic()
            self._lines.tell(progress)


@asynccontextmanager
async def starting(config: ReplicaConfig) -> AsyncIterator[Starting]:
    """Answers within. Raises CannotListen."""
    state = Starting()
    port = config.health_port or (config.port if config.internal_tls is None else 0)
    if not port:
        yield state
        return
    door = await open_health_door(_Health(state), config.host, port)
    try:
        yield state
    finally:
        await door.stop(None)


class _Health(health.aio.HealthServicer):  # type: ignore[misc]
    def __init__(self, state: Starting) -> None:
        super().__init__()
        self._state = state

    async def Check(
        self, request: Any, context: aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        context.set_trailing_metadata(((DOING, self._state.doing),))
        known = {"": "SERVING", DATA_SERVICE: "NOT_SERVING"}
        return health_pb2.HealthCheckResponse(status=known.get(request.service, "SERVICE_UNKNOWN"))
