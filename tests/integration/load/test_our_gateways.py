"""The load generator's client against the real thing: it outlives the gateway it talks to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from orchestrator.load.ask import Ask
from orchestrator.load.open_loop import open_loop
from orchestrator.load.server import first_model
from orchestrator.load.wire import open_wire
from orchestrator.workload.heard import End, Heard
from tests.integration.cluster.watched import Watched
from tests.waiting import wait_for

REQUESTS = 4
TOKENS = 1000  # long enough to be seen in their middle
WITHIN_S = 300.0


async def heard_through(urls: list[str], meanwhile: Callable[[], None]) -> tuple[Heard, ...]:
    body = {
        "max_tokens": TOKENS,
        "temperature": 0.8,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    asks = [
        Ask(number, "A", "agent", 0.0, {**body, "prompt": f"Story {number}.", "seed": 1}, WITHIN_S)
        for number in range(REQUESTS)
    ]
    began_s = time.monotonic()
    heard, _ = await asyncio.gather(
        open_loop(asks, urls, lambda: time.monotonic() - began_s, resume=True),
        asyncio.to_thread(meanwhile),
    )
    return heard


async def test_streams_go_on_token_for_token_when_a_gateway_is_killed() -> None:
    with Watched() as cluster:
        await asyncio.to_thread(cluster.start, replicas=("a",), gateways=2)
        doomed, other = cluster.gateways
        async with open_wire() as wire:
            assert await first_model(other.address, wire) == "tiny"
        calm = await heard_through([other.address], lambda: None)

        def kill() -> None:
            def run_all() -> bool:
                running = [s for held in cluster.sequences().values() for s in held]
                return len(running) == REQUESTS and all(s.tokens > 100 for s in running)

            wait_for(run_all, within_s=WITHIN_S, what="all of them run")
            doomed.kill()

        disturbed = await heard_through([doomed.address, other.address], kill)
        cluster.wait_until_quiet()
    assert {one.end for one in (*calm, *disturbed)} == {End.ANSWERED}
    assert [one.said for one in disturbed] == [one.said for one in calm]
    assert [one.tokens for one in disturbed] == [TOKENS] * REQUESTS
    assert sum(one.connections - 1 for one in disturbed) >= 1, "nobody noticed"
