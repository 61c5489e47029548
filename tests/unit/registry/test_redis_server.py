"""What a failing client of the server means to whoever asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Failing:
    error: Exception = field(default_factory=lambda: RedisTimeout("Timeout reading from server"))

    async def execute_command(self, *_command: Any) -> object:
        raise self.error


def server(client: object) -> RedisServer:
    return RedisServer(cast(Redis, client))


async def test_a_timeout_means_that_the_registry_is_unavailable() -> None:
    with pytest.raises(RegistryUnavailable):
        await server(Failing()).ask("PING")


async def test_a_connection_that_was_closed_under_uvloop_means_it_too() -> None:
    """As a RuntimeError: no other one is a failure of the server."""
    closed = RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")
    with pytest.raises(RegistryUnavailable):
        await server(Failing(closed)).ask("PING")
    with pytest.raises(RuntimeError):
        await server(Failing(RuntimeError("a bug"))).ask("PING")


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


class Deaf:
    """Answers a cancellation by its result: in Python 3.11 `asyncio.wait_for` may do that."""

    def __init__(self) -> None:
        self.calls = 0

    async def execute_command(self, *_command: Any) -> object:
        self.calls += 1
        try:
            return await asyncio.Event().wait()
        except asyncio.CancelledError:
            return b"PONG"


async def test_who_asks_again_and_again_ends_when_cancelled_even_then() -> None:
    client = Deaf()

    async def keep_asking() -> None:
        for _ in range(3):
            await server(client).ask("PING")

    asking = asyncio.create_task(keep_asking())
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(10):
            await asking
    assert client.calls == 1


class Answering:
    async def execute_command(self, *_command: Any) -> object:
        return b"PONG"


async def test_who_was_cancelled_before_may_still_tidy_up() -> None:
    answers: list[object] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            answers.append(await server(Answering()).ask("PING"))

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert answers == [b"PONG"]
