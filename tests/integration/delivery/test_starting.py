"""A replica whose model is on its way takes no work, is listed nowhere, and says what it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.config import Deployment
from orchestrator.live.commands import replica as command
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.messages import ReplicaId
from replicas.model.source import resolve_model
from replicas.serving.server import DATA_SERVICE
from replicas.serving.starting import DOING
from tests.integration.delivery.server import Fault, serving
from tests.ports import free_ports

WITHIN_S = 60.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Registry(MemoryRegistry):
    """Closed like the one on Redis."""

    async def close(self) -> None:
        """There is nothing to close."""


async def health(port: int, service: str) -> tuple[int, str]:
    """The status, and what the replica says it is doing."""
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        call = stub.Check(health_pb2.HealthCheckRequest(service=service), wait_for_ready=True)
        answer = await call
        told = dict(await call.trailing_metadata() or ())
        return answer.status, str(told.get(DOING, ""))


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            with suppress(grpc.RpcError):  # between two doors
                if await holds():
                    return
            await asyncio.sleep(0.05)


async def test_no_work_before_the_model_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(time.monotonic_ns, RegistryConfig(lease_ms=600_000))
    monkeypatch.setattr(command, "connect_registry", lambda _: registry)
    source = resolve_model("tiny", cache=tmp_path / "made").path
    (port,) = free_ports(1)
    held = Fault("model.safetensors", hold_at=100_000)
    with serving({path.name: path.read_bytes() for path in source.iterdir()}) as server:
        server.faults = [held]
        deployment = Deployment(
            model=server.url,
            model_cache=tmp_path / "cache",
            redis_url="redis://127.0.0.1:1",
            replica_port=port,
            device="cpu",
            blocks=64,
            drain_s=0,
        )
        process = command.replica_process(ReplicaId("a"), deployment, None)
        starts = asyncio.create_task(process.__aenter__())
        assert await asyncio.to_thread(held.struck.wait, WITHIN_S)

        async def tells_how_far() -> bool:
            return "%" in (await health(port, DATA_SERVICE))[1]

        await until(tells_how_far)
        status, doing = await health(port, DATA_SERVICE)
        assert status == NOT_SERVING
        assert doing.startswith("fetching llama: ")
        assert (await health(port, ""))[0] == SERVING, "sound: nobody should restart it"
        assert await registry.members() == ()
        assert not starts.done()
        held.release.set()
        await starts

        async def serves() -> bool:
            is_serving = (await health(port, DATA_SERVICE))[0] == SERVING
            return is_serving and len(await registry.members()) == 1

        await until(serves)
        (member,) = await registry.members()
        assert member.record.card.name == "llama"
        await process.__aexit__(None, None, None)
