from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from limits.errors import StorageError

from orchestrator.gateway.caller import ANYBODY, Caller, Limits
from orchestrator.gateway.errors import RateLimited, Unservable
from orchestrator.gateway.meter import Limit, Meter, RateLimits
from orchestrator.gateway.rate_counts import PAUSE_NS, RateCounts


@dataclass
class Clock:
    ns: int = 0

    def now_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


@dataclass
class Ended:
    """What a meter wants to know of a generation."""

    completion_tokens: int
    known_tokens: int = 0
    block_ns: int = 0

    def held_block_ns(self) -> int:
        return self.block_ns


class Down:
    """Counters of a server that is away, or hangs."""

    def __init__(self) -> None:
        self.questions = 0
        self.hangs = False
        self.is_asked = asyncio.Event()

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        await self._fail()
        return False

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        await self._fail()
        return 0, 0.0, 0, 0.0

    async def _fail(self) -> None:
        self.questions += 1
        self.is_asked.set()
        try:
            if self.hangs:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StorageError(TimeoutError()) from None  # as Redis's client does it
        raise StorageError(OSError("away"))


def limits(shared: Down | None = None, clock: Clock | None = None) -> RateLimits:
    return RateLimits(RateCounts(clock or Clock(), shared))


def meter(of: RateLimits, **amounts: int) -> Meter:
    return of.meter(Caller("acme-1", "acme", limits=Limits(**amounts)))


async def end(of: RateLimits, meter: Meter, ended: Ended) -> None:
    meter.ended(ended)
    await of.settle()


async def test_a_caller_without_limits_is_neither_counted_nor_told() -> None:
    free = limits(shared := Down())
    unlimited = free.meter(ANYBODY)
    await unlimited.begin()
    await unlimited.take_prompt(10**9)
    await end(free, unlimited, Ended(10**9))
    assert unlimited.headers() == {}
    assert shared.questions == 0


async def test_requests_are_refused_when_their_number_is_reached() -> None:
    of = limits()
    for left in (1, 0):
        call = meter(of, requests=2)
        await call.begin()
        assert call.headers()["x-ratelimit-limit-requests"] == "2"
        assert call.headers()["x-ratelimit-remaining-requests"] == str(left)
    with pytest.raises(RateLimited) as refused:
        await meter(of, requests=2).begin()
    assert refused.value.code == "rate_limit_exceeded"
    assert 1 <= refused.value.retry_after_s <= 120
    assert refused.value.headers["x-ratelimit-remaining-requests"] == "0"
    assert of.refusals[Limit.REQUESTS] == 1


async def test_another_key_has_limits_of_its_own() -> None:
    of = limits()
    await meter(of, requests=1).begin()
    await of.meter(Caller("acme-2", "acme", limits=Limits(requests=1))).begin()


async def test_a_prompt_is_refused_before_it_runs_where_its_tokens_do_not_fit() -> None:
    of = limits()
    first = meter(of, tokens=100)
    await first.begin()
    await first.take_prompt(60)
    assert first.headers()["x-ratelimit-remaining-tokens"] == "40"
    second = meter(of, tokens=100)
    await second.begin()
    with pytest.raises(RateLimited) as refused:
        await second.take_prompt(41)
    assert refused.value.headers["x-ratelimit-remaining-tokens"] == "40"
    await second.take_prompt(40)


async def test_a_prompt_that_no_minute_allows_is_told_so_instead_of_to_come_again() -> None:
    call = meter(limits(), tokens=100)
    await call.begin()
    with pytest.raises(Unservable, match="101 tokens") as refused:
        await call.take_prompt(101)
    assert refused.value.code == "exceeds_rate_limit"


async def test_an_answer_is_charged_at_its_end_however_long_it_was() -> None:
    of = limits()
    call = meter(of, tokens=100)
    await call.begin()
    await call.take_prompt(10)
    await end(of, call, Ended(completion_tokens=500))
    with pytest.raises(RateLimited, match="100 tokens a minute"):
        await meter(of, tokens=100).begin()


async def test_what_a_client_has_of_an_answer_is_not_charged_again() -> None:
    of = limits()
    call = meter(of, tokens=100)
    await call.begin()
    await end(of, call, Ended(completion_tokens=99, known_tokens=90))
    again = meter(of, tokens=100)
    await again.begin()
    assert again.headers()["x-ratelimit-remaining-tokens"] == "91"


async def test_block_seconds_are_charged_at_the_end_in_thousandths() -> None:
    of = limits()
    call = meter(of, block_seconds=2)
    await call.begin()
    await end(of, call, Ended(completion_tokens=1, block_ns=1_500_000_000))
    more = meter(of, block_seconds=2)
    await more.begin()
    assert more.headers()["x-ratelimit-remaining-block-seconds"] == "0", "half a one is none"
    await end(of, more, Ended(completion_tokens=1, block_ns=500_000_000))
    with pytest.raises(RateLimited, match="2 block-seconds"):
        await meter(of, block_seconds=2).begin()


async def test_no_request_fails_because_redis_does_and_each_gateway_counts_alone() -> None:
    clock, shared = Clock(1), Down()
    of = limits(shared, clock)
    assert of.counts.are_shared
    await meter(of, requests=2).begin()
    assert not of.counts.are_shared
    asked = shared.questions
    await meter(of, requests=2).begin()
    assert shared.questions == asked, "it is left alone for a while"
    with pytest.raises(RateLimited):
        await meter(of, requests=2).begin()
    clock.ns += PAUSE_NS
    with pytest.raises(RateLimited):
        await meter(of, requests=2).begin()
    assert shared.questions > asked


async def test_a_client_that_leaves_while_redis_hangs_has_left() -> None:
    shared = Down()
    shared.hangs = True
    beginning = asyncio.create_task(meter(limits(shared), requests=2).begin())
    await shared.is_asked.wait()
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
