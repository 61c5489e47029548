"""Announcing goes on whatever fails, and says so once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import cast

import pytest

from orchestrator.registry import redis_announcer
from orchestrator.registry.announcement_wire import encode
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis_announcer import RedisAnnouncer
from orchestrator.registry.redis_server import RedisServer
from protos.messages import ReplicaId
from protos.registry import Announcement, RegistryUnavailable
from tests.integration.control.until import until

PLACED = Announcement(ReplicaId("a"), 1, 640, 44, 1, True, 1200)
DENIED = RegistryUnavailable("this user has no permissions")


class Server:
    """Answers what it is told to; errors are raised. Who is let in hears `said`, then no more."""

    def __init__(self) -> None:
        self.answer: int | Exception = 2
        self.door: Exception | None = None
        self.said: list[bytes] = []
        self.asked = self.let_in = self.turned_away = 0
        self.forever = asyncio.Event()

    async def ask(self, *command: object) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def hear(self, channel: str, *, silence_s: float) -> AsyncGenerator[bytes | None, None]:
        if self.door is not None:
            self.turned_away += 1
            raise self.door
        self.let_in += 1
        yield None
        while self.said:
            yield self.said.pop(0)
        await self.forever.wait()

    async def close(self) -> None: ...


class Gateway:
    def __init__(self, hear: Callable[[Announcement], None] | None = None) -> None:
        self.server = Server()
        self.heard: list[Announcement] = []
        self.announcer = RedisAnnouncer(cast(RedisServer, self.server), RegistryConfig())
        self._hear = hear or self.heard.append

    async def __aenter__(self) -> Gateway:
        return self

    def listen(self) -> None:
        self.announcer.listen(self._hear)

    async def __aexit__(self, *_: object) -> None:
        await self.announcer.close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_announcer, "PAUSE_S", 0.0)


async def announce_until(gateway: Gateway, is_so: Callable[[], bool]) -> None:
    def is_said_and_so() -> bool:
        gateway.announcer.announce(PLACED)
        return is_so()

    await until(is_said_and_so, "what was announced had its effect")


async def test_who_may_neither_tell_nor_hear_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """Power: a line for each try is two in a second, for ever."""
    async with Gateway() as gateway:
        server = gateway.server
        server.answer = server.door = DENIED
        gateway.listen()
        await announce_until(gateway, lambda: server.asked >= 5 and server.turned_away >= 5)
        warnings = sorted(record.getMessage() for record in caplog.records)
        assert len(warnings) == 2
        assert "not heard" in warnings[0] and "no permissions" in warnings[0]
        assert "not told" in warnings[1]
        assert gateway.announcer.forgotten >= 4
        caplog.set_level("INFO")
        server.answer, server.door = 2, None
        asked = server.asked
        await announce_until(gateway, lambda: server.let_in > 0 and server.asked >= asked + 3)
        assert sum("is over" in record.getMessage() for record in caplog.records) == 2


async def test_what_nobody_foresaw_does_not_end_telling(caplog: pytest.LogCaptureFixture) -> None:
    """Power: caught only as an absent registry it ends the task, and nobody is told."""
    async with Gateway() as gateway:
        gateway.server.answer = ZeroDivisionError("a bug")
        gateway.listen()
        await announce_until(gateway, lambda: gateway.server.asked >= 3)
        assert [bool(record.exc_info) for record in caplog.records] == [True]


async def test_an_announcement_that_breaks_who_hears_it_does_not_end_hearing() -> None:
    heard: list[int] = []

    def hear(announcement: Announcement) -> None:
        heard.append(announcement.blocks)
        if announcement.blocks == 1:
            raise ZeroDivisionError("a bug")

    async with Gateway(hear) as gateway:
        for blocks in (1, 2):
            said = Announcement(ReplicaId("a"), 1, 640, blocks, 1, True, 1200)
            gateway.server.said.append(encode(b"o" * 16, [said]))
        gateway.listen()
        await until(lambda: heard == [1, 2], "both are heard")


async def told(gateway: Gateway) -> int:
    """Of twenty announcements in a row, how many messages came."""
    before = gateway.server.asked
    for _ in range(20):
        gateway.announcer.announce(PLACED)
        await asyncio.sleep(0)
    return gateway.server.asked - before


async def test_one_listener_is_nobody_else_only_where_it_can_be_oneself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Power: taken for oneself while that hears nothing, another gateway is told nothing."""
    monkeypatch.setattr(redis_announcer, "ALONE_S", 3600.0)
    async with Gateway() as gateway:
        server = gateway.server
        server.answer, server.door = 1, DENIED
        gateway.listen()
        await announce_until(gateway, lambda: server.asked >= 3)
        server.door = None
        await until(lambda: server.let_in > 0, "it hears")
        async with asyncio.timeout(20):
            while await told(gateway):
                pass
