"""The registry's contract is checked over both implementations, each in its world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from orchestrator.live.valkey import EmbeddedValkey
from protos.registry import PrefixRegistry
from tests.conformance.registry.users import add_users
from tests.conformance.registry.world import MemoryWorld, RedisWorld, World


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """Of a server that knows the two users; as them, and with no right more, all is done."""
    with EmbeddedValkey() as valkey:
        add_users(valkey.url)
        yield valkey.url


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world = (
        MemoryWorld()
        if request.param == "memory"
        else RedisWorld(request.getfixturevalue("valkey_url"))
    )
    yield world
    await world.close()


@pytest.fixture
def registry(world: World) -> PrefixRegistry:
    return world.registry()
