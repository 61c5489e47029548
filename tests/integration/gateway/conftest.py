"""A gateway on real loopback ports, over a scripted replica."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.door_tls import DoorTls
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.http_protocol import HttpLimits
from orchestrator.gateway.keyring import Keys
from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.gateway.search import SearchConfig
from orchestrator.gateway.server import BoundPorts, GatewayServer
from orchestrator.gateway.service import Gateway
from orchestrator.live.clock import OsClock
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.registry import ReplicaRecord
from tests.integration.gateway.scripted import BLOCKS_TOTAL, CARD, REPLICA, ScriptedReplica
from tests.unit.gateway.byte_model import byte_tokenizer

HOUR_MS = 3_600_000


@dataclass
class Served:
    """A running gateway and the replica behind it."""

    replica: ScriptedReplica
    gateway: Gateway
    server: GatewayServer
    ports: BoundPorts

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.http}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.ports.grpc}"

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=20)

    def openai(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0)


@pytest.fixture
def replica() -> ScriptedReplica:
    return ScriptedReplica()


@pytest.fixture
async def registry() -> MemoryRegistry:
    registry = MemoryRegistry(OsClock().now_ns, RegistryConfig(lease_ms=HOUR_MS))
    await registry.join(ReplicaRecord(REPLICA, "nowhere:1", CARD, BLOCKS_TOTAL))
    return registry


@asynccontextmanager
async def serving(
    folder: Path,
    replica: ScriptedReplica,
    registry: MemoryRegistry,
    keys: Keys | None = None,
    http_limits: HttpLimits | None = None,
    tls: DoorTls | None = None,
) -> AsyncIterator[Served]:
    clock = OsClock()
    cluster = Cluster(ClusterConfig())
    fleet = Fleet(registry, lambda _, __: replica, cluster, clock, FleetConfig())
    config = DispatchConfig(search=SearchConfig(rounds_max=2, pause_s=0.001))
    dispatch = Dispatch(fleet, cluster, registry, clock, config)
    gateway = Gateway(dispatch, byte_tokenizer(folder), clock=clock, metrics=GatewayMetrics())
    server = GatewayServer(
        gateway, keys=keys, http_limits=http_limits, http_port=0, grpc_port=0, tls=tls
    )
    await fleet.start()
    ports = await server.start()
    try:  # a gRPC server that nobody stops keeps the process of the tests from ending
        yield Served(replica, gateway, server, ports)
    finally:
        replica.release.set()
        await server.stop(1.0)
        await fleet.stop()


@pytest.fixture
async def served(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> AsyncIterator[Served]:
    async with serving(tmp_path, replica, registry) as served:
        yield served


@pytest.fixture
async def other(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry, served: Served
) -> AsyncIterator[Served]:
    """Another gateway over the same replica."""
    async with serving(tmp_path, replica, registry) as other:
        yield other
