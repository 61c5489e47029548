"""The channel of placements fails: nobody waits, nothing grows, and it goes on by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import pytest
from redis.asyncio import Redis

from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.announcement_wire import VERSION
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys
from orchestrator.registry.redis_announcer import OUTBOX_MAX, RedisAnnouncer
from protos.registry import Announcement
from tests.conformance.registry.test_announcements import PLACED
from tests.integration.control.until import until, until_true

pytestmark = pytest.mark.redis

CONFIG = RegistryConfig(operation_ms=300, connect_ms=300)


class Gateway:
    """One end, and what it heard."""

    def __init__(self, url: str) -> None:
        self.heard: list[Announcement] = []
        self.announcer = RedisAnnouncer.connect(url, CONFIG)
        self.announcer.listen(self.heard.append)


async def hears(listener: Gateway, speaker: Gateway) -> None:
    before = len(listener.heard)

    def is_heard() -> bool:
        speaker.announcer.announce(PLACED)
        return len(listener.heard) > before

    await until(is_heard, "it is heard")


async def test_announcing_to_a_server_that_is_not_there_keeps_nothing_for_ever() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gateway = Gateway(f"redis://127.0.0.1:{closed.getsockname()[1]}")
        for _ in range(3 * OUTBOX_MAX):
            gateway.announcer.announce(PLACED)
        assert gateway.announcer.forgotten == 2 * OUTBOX_MAX
        await until(
            lambda: gateway.announcer.forgotten == 3 * OUTBOX_MAX,
            "what is late is no news, and is forgotten",
        )
        await gateway.announcer.close()


async def test_a_server_that_hangs_and_goes_on(valkey: EmbeddedValkey) -> None:
    one, two = Gateway(valkey.url), Gateway(valkey.url)
    await hears(one, two)
    await hears(two, one)
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        forgotten = one.announcer.forgotten
        one.announcer.announce(PLACED)
        await asyncio.sleep(0)
        one.announcer.announce(PLACED)
        await until(lambda: one.announcer.forgotten >= forgotten + 2, "it is given up")
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    await hears(one, two)
    await hears(two, one)
    await one.announcer.close()
    await two.announcer.close()


async def test_a_server_that_dies_and_comes_back(valkey: EmbeddedValkey) -> None:
    one, two = Gateway(valkey.url), Gateway(valkey.url)
    await hears(one, two)
    os.kill(valkey.pid, signal.SIGKILL)
    valkey.stop()
    one.announcer.announce(PLACED)
    valkey.start()
    await hears(one, two)
    await hears(two, one)
    await one.announcer.close()
    await two.announcer.close()


async def test_words_that_are_no_announcement_are_passed_over(
    valkey: EmbeddedValkey, admin: Redis
) -> None:
    one, two = Gateway(valkey.url), Gateway(valkey.url)
    await hears(one, two)
    for garbage in (b"", b"x", bytes([VERSION]) + b"o" * 16 + b"y", bytes([9]) * 40):
        await admin.publish(Keys(CONFIG.prefix).placements, garbage)
    await hears(one, two)
    assert set(one.heard) == {PLACED}
    await one.announcer.close()
    await two.announcer.close()


async def test_who_is_alone_says_nothing_for_a_while(valkey: EmbeddedValkey, admin: Redis) -> None:
    """Power: without the pause each placement of a lone gateway costs a command."""
    lone = Gateway(valkey.url)
    channel = Keys(CONFIG.prefix).placements

    async def is_subscribed() -> bool:
        return bool((await admin.pubsub_numsub(channel))[0][1])

    await until_true(is_subscribed, "it listens")
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(200):
        lone.announcer.announce(PLACED)
        await asyncio.sleep(0.001)

    async def published() -> int:
        stats = await admin.info("commandstats")
        return int(stats.get("cmdstat_publish", {"calls": 0})["calls"])

    await until_true(published, "something is said")
    said = await published()
    pauses = 1 + (loop.time() - began) / 0.5
    assert said <= 2 * pauses
    await lone.announcer.close()
