"""Leases end by the server's own clock, for replicas and for the control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry
from protos.registry import BlockBatch
from tests.conformance.registry.world import chain, record
from tests.integration.control.until import until_true

pytestmark = pytest.mark.redis

PROMPT = chain("prompt", 40)


@pytest.fixture
async def short(valkey: EmbeddedValkey, config: RegistryConfig) -> AsyncIterator[RedisRegistry]:
    """A registry whose leases last an instant."""
    registry = RedisRegistry.connect(valkey.url, replace(config, lease_ms=50))
    yield registry
    await registry.close()


async def test_a_silent_replica_vanishes_by_itself(
    short: RedisRegistry, registry: RedisRegistry
) -> None:
    lasting = await registry.join(record("lasting"))
    assert await registry.publish(lasting, BlockBatch(0, PROMPT))
    silent = await short.join(record("silent"))

    async def is_gone() -> bool:
        return len(await registry.members()) == 1

    await until_true(is_gone, "the silent one vanished")
    assert not await short.publish(silent, BlockBatch(0, PROMPT))
    assert not await short.renew(silent, draining=False)
    assert await registry.locate(PROMPT) == {"lasting": 40}


async def test_a_renewal_counts_from_the_moment_it_is_made(
    short: RedisRegistry, registry: RedisRegistry
) -> None:
    """Joined for ten minutes, then renewed for an instant by the other configuration."""
    membership = await registry.join(record("a"))
    assert await short.renew(membership, draining=False)

    async def is_gone() -> bool:
        return not await registry.members()

    await until_true(is_gone, "the renewed lease ended")


async def test_a_silent_leader_vanishes_by_itself(
    short: RedisRegistry, registry: RedisRegistry
) -> None:
    first = await short.lead("one", "here:7000")
    assert first is not None

    async def is_gone() -> bool:
        return await registry.leader() is None

    await until_true(is_gone, "the leader's lease ended")
    second = await registry.lead("two", "there:7000")
    assert second is not None and second > first
    assert await short.lead("one", "here:7000") is None
