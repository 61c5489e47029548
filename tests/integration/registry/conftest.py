"""A server of its own for each test here, because these tests hurt it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as valkey:
        yield valkey


@pytest.fixture
def config() -> RegistryConfig:
    """Leases that outlive a slow test, and answers of a slow machine."""
    return RegistryConfig(lease_ms=600_000, operation_ms=10_000, connect_ms=10_000)


@pytest.fixture
async def registry(valkey: EmbeddedValkey, config: RegistryConfig) -> AsyncIterator[RedisRegistry]:
    registry = RedisRegistry.connect(valkey.url, config)
    yield registry
    await registry.close()


@pytest.fixture
async def admin(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    admin = Redis.from_url(valkey.url)
    yield admin
    await admin.aclose()
