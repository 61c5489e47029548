"""A gateway in a thread with an event loop of its own, for tests that are not coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from orchestrator.gateway.keyring import Keys
from orchestrator.live.clock import OsClock
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.registry import ReplicaRecord
from tests.integration.gateway.conftest import HOUR_MS, Served, serving
from tests.integration.gateway.scripted import BLOCKS_TOTAL, CARD, REPLICA, ScriptedReplica

WITHIN_S = 60.0  # on a machine that does much else


@contextmanager
def in_background(folder: Path, keys: Keys | None = None) -> Iterator[Served]:
    """What `serving` gives; only its ports and its counts are for other threads."""
    started: Future[Served] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        registry = MemoryRegistry(OsClock().now_ns, RegistryConfig(lease_ms=HOUR_MS))
        await registry.join(ReplicaRecord(REPLICA, "nowhere:1", CARD, BLOCKS_TOTAL))
        async with serving(folder, ScriptedReplica(), registry, keys) as served:
            loops.append(asyncio.get_running_loop())
            started.set_result(served)
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    loops: list[asyncio.AbstractEventLoop] = []
    thread = Thread(target=run, name="gateway")
    thread.start()
    try:
        yield started.result(WITHIN_S)
    finally:
        for loop in loops:
            loop.call_soon_threadsafe(stop.set)
        thread.join(WITHIN_S)
    assert not thread.is_alive(), "the gateway did not stop"
