"""Announcements on a channel of the registry's server.

What is announced is put into an outbox; one task sends all that is in it as
one message, another one hears what comes. Neither is ever waited for: when
the server is away, or slow, what was to be told is forgotten, both try again
after a pause, and go on when it is back.

A gateway that is alone pays nothing: the server says how many heard a
message, and where that was nobody but the sender it is silent for a moment.

Whatever fails, also in who is told, is logged once, and both tasks go on.

Bounds: the outbox (the oldest are forgotten), the hashes of one announcement
and of one message, the pause, the wait for the server.

The server's user needs `&<prefix>* +@connection +publish +subscribe
+unsubscribe`, for a channel under the registry's prefix.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from uuid import uuid4

from orchestrator.registry.announcement_wire import UnknownMessage, decode, encode
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys
from orchestrator.registry.redis_server import RedisServer
from orchestrator.registry.trouble import Trouble
from protos.registry import Announcement

log = logging.getLogger(__name__)

OUTBOX_MAX = 256
HASHES_MAX = 1024  # of one announcement: 16 KiB
MESSAGE_HASHES_MAX = 4096  # 64 KiB, and the announcement that reaches it
PAUSE_S = 0.5
ALONE_S = 0.5  # a gateway that has come is told of placements within this time
SILENCE_S = 2.0


class RedisAnnouncer:
    """Announcer on a Redis-protocol server. Made and used in a running event loop."""

    def __init__(self, server: RedisServer, config: RegistryConfig) -> None:
        self.forgotten = 0  # announcements that nobody was told of
        self._server = server
        self._channel = Keys(config.prefix).placements
        self._me = uuid4().bytes
        self._outbox: deque[Announcement] = deque()
        self._has_news = asyncio.Event()
        self._alone_until = 0.0
        self._is_listening = False
        self._deafness = Trouble(log, "other gateways are not heard")
        self._muteness = Trouble(log, "other gateways are not told of placements")
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def connect(cls, url: str, config: RegistryConfig) -> RedisAnnouncer:
        """At the same URL as the registry; ValueError if it is none. Does no I/O yet."""
        return cls(RedisServer.at(url, config), config)

    def announce(self, announcement: Announcement) -> None:
        if asyncio.get_running_loop().time() < self._alone_until:
            return
        if len(self._outbox) == OUTBOX_MAX:
            self._outbox.popleft()
            self.forgotten += 1
        self._outbox.append(bounded(announcement))
        self._has_news.set()

    def listen(self, hear: Callable[[Announcement], None]) -> None:
        assert not self._tasks, "listens once"
        self._tasks = [
            asyncio.create_task(self._tell_forever()),
            asyncio.create_task(self._hear_forever(hear)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.close()

    # ---- telling

    async def _tell_forever(self) -> None:
        while not _is_cancelled():
            await self._has_news.wait()
            message, count = self._next_message()
            try:
                heard_by = await self._server.ask("PUBLISH", self._channel, message)
            except Exception as error:
                self._muteness.meet(error)
                self.forgotten += count + len(self._outbox)
                self._outbox.clear()  # later they would be no news
                self._has_news.clear()
                await asyncio.sleep(PAUSE_S)
            else:
                self._muteness.end()
                is_alone = heard_by <= self._is_listening  # our own ear counts
                pause_s = ALONE_S if is_alone else 0.0
                self._alone_until = asyncio.get_running_loop().time() + pause_s

    def _next_message(self) -> tuple[bytes, int]:
        """As much of the outbox as one message holds, and how many announcements that is."""
        taken: list[Announcement] = []
        hashes = 0
        while self._outbox and hashes < MESSAGE_HASHES_MAX:
            taken.append(self._outbox.popleft())
            hashes += len(taken[-1].hashes)
        if not self._outbox:
            self._has_news.clear()
        return encode(self._me, taken), len(taken)

    # ---- hearing

    async def _hear_forever(self, hear: Callable[[Announcement], None]) -> None:
        while not _is_cancelled():
            try:
                await self._hear_until_it_fails(hear)
            except Exception as error:
                self._deafness.meet(error)
            await asyncio.sleep(PAUSE_S)

    async def _hear_until_it_fails(self, hear: Callable[[Announcement], None]) -> None:
        async with aclosing(self._server.hear(self._channel, silence_s=SILENCE_S)) as messages:
            try:
                async for message in messages:
                    self._is_listening = True
                    self._deafness.end()
                    for announcement in self._read(message):
                        hear(announcement)
            finally:
                self._is_listening = False

    def _read(self, message: bytes | None) -> tuple[Announcement, ...]:
        """What another gateway says in it."""
        if message is None:
            return ()
        try:
            announcements = decode(message, me=self._me)
        except UnknownMessage:
            return ()  # of a gateway of another version
        if announcements is None:
            return ()
        self._alone_until = 0.0
        return announcements


def bounded(announcement: Announcement) -> Announcement:
    """The same with the first of its hashes only, if they are too many."""
    if len(announcement.hashes) <= HASHES_MAX:
        return announcement
    return replace(announcement, hashes=announcement.hashes[:HASHES_MAX])


def _is_cancelled() -> bool:
    """The client of a server that times out may take a cancellation for that timeout."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
