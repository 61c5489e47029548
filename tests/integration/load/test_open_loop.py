"""Requests go out when they are due, whatever the server does; latencies count from then."""

from __future__ import annotations

import asyncio
import time

from orchestrator.load.ask import Ask
from orchestrator.load.open_loop import open_loop
from orchestrator.load.wire import Access
from orchestrator.workload.heard import End, Heard
from tests.integration.load.fake_server import Exchange, FakeServer

REQUESTS = 20
SECONDS = 1.0


def asks(*, due_s: float = 0.0, seconds: float = 0.0) -> list[Ask]:
    body = {"model": "m", "prompt": "Say it.", "stream": True}
    return [
        Ask(number, "A", "", due_s + number * seconds / REQUESTS, body, deadline_s=60.0)
        for number in range(REQUESTS)
    ]


async def test_a_stall_is_in_the_latency_of_every_request_that_was_due_in_it() -> None:
    """The server answers nobody until all have come: a sender that waits would wait for ever."""
    waiting: list[Exchange] = []
    all_came = asyncio.Event()  # waited for in the server's loop alone
    stall_ended_s: list[float] = []

    async def script(exchange: Exchange) -> None:
        waiting.append(exchange)
        if len(waiting) == REQUESTS:
            stall_ended_s.append(clock())
            all_came.set()
        await all_came.wait()
        await exchange.tokens("At", " last")
        await exchange.end()

    def clock() -> float:
        return time.monotonic() - began_s

    with FakeServer(script) as server:
        began_s = time.monotonic()
        heard = await open_loop(asks(seconds=SECONDS), [server.url], clock)
    assert [one.number for one in heard] == list(range(REQUESTS))
    assert {one.end for one in heard} == {End.ANSWERED}
    for one in heard:
        assert one.ttft_s is not None
        assert one.ttft_s >= stall_ended_s[0] - one.due_s
    first = heard[0].ttft_s
    assert first is not None and first >= SECONDS * (REQUESTS - 1) / REQUESTS


async def test_latency_counts_from_the_due_time_even_when_the_sender_is_late() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.tokens("One")
        await exchange.end()

    began_s = time.monotonic()
    with FakeServer(script) as server:
        heard = await open_loop(asks(due_s=-5.0), [server.url], lambda: time.monotonic() - began_s)
    for one in heard:
        assert one.sent_s - one.due_s >= 5.0
        assert one.ttft_s is not None and one.ttft_s >= 5.0


async def test_requests_take_turns_at_the_servers_and_each_is_told_as_it_ends() -> None:
    async def script(exchange: Exchange) -> None:
        exchange.refuse(429, "overloaded")

    told: list[Heard] = []
    began_s = time.monotonic()
    with FakeServer(script) as first, FakeServer(script) as second:
        heard = await open_loop(
            asks(),
            [first.url, second.url],
            lambda: time.monotonic() - began_s,
            on_heard=told.append,
            access=Access("secret"),
        )
    assert len(first.seen) == len(second.seen) == REQUESTS // 2
    assert sorted(told, key=lambda one: one.number) == list(heard)
    assert {exchange.headers["authorization"] for exchange in first.seen} == {"Bearer secret"}
