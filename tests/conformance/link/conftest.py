"""What a gateway's link promises is checked over both implementations, each in its world."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.link.world import World, grpc_world, sim_world
from tests.integration.control.until import until


@pytest.fixture(params=[grpc_world, sim_world], ids=["grpc", "sim"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with request.param() as world:
        await until(lambda: world.client.snapshot() is not None, "the link is up")
        yield world
