"""A gateway's doors over two counting replicas, all of which tell a collector of their spans."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.gateway.server import BoundPorts, GatewayServer
from orchestrator.gateway.service import Gateway
from orchestrator.live.clock import OsClock
from protos.otlp import Telemetry
from tests.integration.control.test_request_path import Gateway as Inner
from tests.integration.control.test_request_path import gateway as inner_gateway
from tests.integration.tracing.collector import Collector, collecting
from tests.unit.gateway.byte_model import byte_tokenizer

PROMPT = "Where does the ferry leave for the lighthouse?"


@dataclass(frozen=True)
class Traced:
    """What a test asks, and who hears of it."""

    inner: Inner
    ports: BoundPorts

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.ports.http}", timeout=60)

    async def complete(self, *, tokens: int = 4, **headers: str) -> str:
        """The id of a complete answer."""
        body = {"prompt": PROMPT, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
        async with self.http() as client:
            response = await client.post("/v1/completions", json=body, headers=headers)
        assert response.status_code == httpx.codes.OK, response.text
        answer_id: str = response.json()["id"]
        return answer_id


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


@pytest.fixture
def environment(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator sets, so that every process finds the collector."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{collector.address}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Traced]:
    """With the telemetry that the environment asks for."""
    telemetry = Telemetry("gateway", "door")
    async with inner_gateway("a", "b") as inner:
        gateway = Gateway(
            inner.dispatch,
            byte_tokenizer(folder),
            clock=OsClock(),
            metrics=GatewayMetrics(),
            tracing=telemetry.tracing,
        )
        server = GatewayServer(gateway, http_port=0, grpc_port=0)
        ports = await server.start()
        try:
            yield Traced(inner, ports)
        finally:
            await server.stop(1.0)
            await telemetry.close()


@pytest.fixture
async def traced(environment: None, tmp_path: Path) -> AsyncIterator[Traced]:
    async with serving(tmp_path) as traced:
        yield traced
