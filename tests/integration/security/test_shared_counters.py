"""Rate limits on a real server: counted by all gateways together, and what that may touch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from limits.errors import StorageError
from redis.asyncio import Redis

from orchestrator.gateway.caller import Caller, Limits
from orchestrator.gateway.errors import RateLimited
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.live.clock import OsClock
from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.shared_counters import SharedCounters

pytestmark = pytest.mark.redis

PATIENT_MS = 20_000  # on a machine that does much else
GRANTS = "~orch:limits:* +@connection +evalsha +script|load +get +set +exists +pttl +rename +incrby"


@pytest.fixture(scope="module")
def valkey() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as valkey:
        yield valkey


@pytest.fixture
async def admin(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url) as admin:
        await admin.flushall()
        yield admin


def limited(requests: int) -> Caller:
    return Caller("acme-1", "acme", limits=Limits(requests=requests))


async def test_gateways_count_together(valkey: EmbeddedValkey, admin: Redis) -> None:
    async with AsyncExitStack() as stack:
        gateways = []
        for _ in range(2):
            shared = SharedCounters(valkey.url, "orch:", answer_ms=PATIENT_MS)
            stack.push_async_callback(shared.close)
            gateways.append(RateLimits(RateCounts(OsClock(), shared)))
        for gateway in (*gateways, *gateways):
            await gateway.meter(limited(4)).begin()
        for gateway in gateways:
            with pytest.raises(RateLimited):
                await gateway.meter(limited(4)).begin()
            assert gateway.counts.are_shared
    keys = await admin.keys()
    assert keys
    assert await admin.keys("orch:limits:{*}*") == keys
    assert all([await admin.pttl(key) > 0 for key in keys]), "a counter ends by itself"


async def test_what_is_charged_may_exceed_a_limit(valkey: EmbeddedValkey, admin: Redis) -> None:
    shared = SharedCounters(valkey.url, "orch:", answer_ms=PATIENT_MS)
    counts = RateCounts(OsClock(), shared)
    assert await counts.take("acme-1/tokens", 10, 8)
    assert not await counts.take("acme-1/tokens", 10, 3)
    await counts.charge("acme-1/tokens", 10, 100)
    window = await counts.window("acme-1/tokens", 10)
    assert (window.current, window.remaining(10)) == (108, 0)
    assert 60 < window.current_s <= 120
    assert counts.are_shared
    await shared.close()


async def test_a_user_that_may_only_count_can_do_that_and_nothing_else(
    valkey: EmbeddedValkey, admin: Redis
) -> None:
    user = ["ACL", "SETUSER", "counting", "on", ">secret", *GRANTS.split()]
    for command in (user, ["SCRIPT", "FLUSH"]):
        await admin.execute_command(*command)  # type: ignore[no-untyped-call]
    url = valkey.url.replace("//", "//counting:secret@")
    own = SharedCounters(url, "orch:", answer_ms=PATIENT_MS)
    assert await own.acquire_sliding_window_entry("key", 10, 60, 4)
    assert (await own.get_sliding_window("key", 60))[2] == 4
    await own.close()
    elsewhere = SharedCounters(url, "other:", answer_ms=PATIENT_MS)
    with pytest.raises(StorageError):
        await elsewhere.get_sliding_window("key", 60)
    await elsewhere.close()


async def test_a_server_that_is_away_is_a_storage_error() -> None:
    away = SharedCounters("redis://127.0.0.1:1", "orch:")
    with pytest.raises(StorageError):
        await away.get_sliding_window("key", 60)
    await away.close()


def test_a_url_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="redis://") as refused:
        SharedCounters("postgres://user:secret@host", "orch:")
    assert "secret" not in str(refused.value)
