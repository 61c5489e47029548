"""A live gateway's parts know of one another; no port is opened and no registry asked."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from orchestrator.config import Deployment
from orchestrator.gateway.fleet_metrics import GAUGES
from orchestrator.live import gateway as live_gateway
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.messages import ModelCard, ReplicaId
from protos.registry import ReplicaRecord

DEPLOYMENT = Deployment(model="tiny", redis_url="redis://127.0.0.1:1")
TINY = ModelCard("tiny", "r", "float32", 16, context_tokens_max=8192, vocab_size=259)
OTHER = ModelCard("smollm2", "r", "float32", 16, context_tokens_max=8192, vocab_size=49152)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRegistry:
    """What the gateway finds at its URL."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    registry = MemoryRegistry(time.monotonic_ns, RegistryConfig())
    monkeypatch.setattr(live_gateway, "connect_registry", lambda _: registry)
    return registry


async def test_its_metrics_show_the_replicas(registry: MemoryRegistry) -> None:
    app = (await live_gateway.build_gateway(DEPLOYMENT)).app
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway"
    ) as client:
        shown = (await client.get("/metrics")).text
    for name in GAUGES:
        assert f"# TYPE blockyard_{name} gauge" in shown


async def test_it_serves_the_model_of_its_own_tokenizer_whoever_came_first(
    registry: MemoryRegistry,
) -> None:
    gateway = await live_gateway.build_gateway(DEPLOYMENT)
    await registry.join(ReplicaRecord(ReplicaId("a"), "127.0.0.1:1", OTHER, blocks_total=1))
    await gateway.fleet.refresh()
    assert gateway.fleet.card() is None
    await registry.join(ReplicaRecord(ReplicaId("b"), "127.0.0.1:1", TINY, blocks_total=1))
    await gateway.fleet.refresh()
    assert gateway.fleet.card() == TINY
    await gateway.fleet.stop()
