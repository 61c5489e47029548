"""A gateway as `blockyard` builds it tells the collector that its environment names."""

from __future__ import annotations

import time
from pathlib import Path
from secrets import token_hex

import httpx
import pytest

from orchestrator.config import Deployment
from orchestrator.live import gateway as live_gateway
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.messages import ModelCard, ReplicaId
from protos.registry import ReplicaRecord
from tests.integration.tracing.collector import Collector

TINY = ModelCard("tiny", "r", "float32", 16, context_tokens_max=64, vocab_size=259)


async def test_a_gateway_that_blockyard_builds_exports_its_spans(
    environment: None, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a request that it refuses itself, so that no replica has to be there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    registry = MemoryRegistry(time.monotonic_ns, RegistryConfig())
    monkeypatch.setattr(live_gateway, "connect_registry", lambda _: registry)
    built = await live_gateway.build_gateway(
        Deployment(model="tiny", redis_url="redis://127.0.0.1:1")
    )
    await registry.join(ReplicaRecord(ReplicaId("a"), "127.0.0.1:1", TINY, blocks_total=1))
    await built.fleet.refresh()
    trace_id = token_hex(16)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(built.app), base_url="http://gateway"
    ) as client:
        response = await client.post(
            "/v1/completions",
            json={"prompt": "x" * (TINY.context_tokens_max + 1), "max_tokens": 1},
            headers={"traceparent": f"00-{trace_id}-{token_hex(8)}-01"},
        )
    assert response.status_code == httpx.codes.BAD_REQUEST, response.text
    spans = await collector.until_named(trace_id, "request")
    assert {span.service for span in spans} == {"blockyard-gateway"}
    await built.fleet.stop()
    await built.telemetry.close()
