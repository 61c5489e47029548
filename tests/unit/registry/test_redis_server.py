"""What a failing client of the server means to whoever asked."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from orchestrator.registry.redis_server import RedisServer
from protos.registry import RegistryUnavailable


class Hanging:
    """Answers nothing, and takes a cancellation for its own timeout."""

    async def execute_command(self, *_command: Any) -> object:
        try:
            return await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RedisTimeout("Timeout reading from server") from None


class Failing:
    async def execute_command(self, *_command: Any) -> object:
        raise RedisTimeout("Timeout reading from server")


def server(client: object) -> RedisServer:
    return RedisServer(cast(Redis, client))


async def test_a_timeout_means_that_the_registry_is_unavailable() -> None:
    with pytest.raises(RegistryUnavailable):
        await server(Failing()).ask("PING")


async def test_a_cancellation_stays_one_whatever_the_client_takes_it_for() -> None:
    asking = asyncio.create_task(server(Hanging()).ask("PING"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_callers_own_timeout_stays_one_too() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await server(Hanging()).ask("PING")
