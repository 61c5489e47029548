"""Clients that are always listening, and what each of them should hear.

A few clients ask one story after another, through the gateways that are ready
by then, and read each to its end. What a story says undisturbed was heard
before; a token that is lost, doubled or altered afterwards is a difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Event
from typing import Any

import httpx

from orchestrator.chaos.compare import difference
from orchestrator.load.ask import Ask, Clock, clock_from_now
from orchestrator.load.stream import Patience, listen
from orchestrator.load.wire import Access, open_wire
from orchestrator.workload.heard import End, Heard

CLIENTS = 4
STORIES = 4
TOKENS = 400
BREATH_S = 1.0  # between two stories: replicas that never rest leave nodes no core to start on
TOLD_WITHIN_S = 300.0  # of one story, on a machine that starts nodes meanwhile
READY_EVERY_S = 0.5
# Streams may be as slow as the machine; a connection to a node that is gone is refused at once.
# Said by a gateway that is leaving, before anything began: a Service has others.
NOT_HERE = frozenset({"connection_refused", "connection_reset", "gateway_stopping"})
PATIENCE = Patience(first_s=TOLD_WITHIN_S, silence_s=60.0, tries=60)


def story(number: int) -> dict[str, Any]:
    """Sampled, of its own length of prompt, the same whenever it is asked for."""
    return {
        "model": "tiny",
        "prompt": f"Story {number}. " + "Once upon a time " * (4 * number),
        "max_tokens": TOKENS,
        "seed": number,
        "temperature": 0.8,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@dataclass
class Audience:
    """Asks through `doors`, which holds the urls of the gateways that were last ready."""

    urls: Callable[[], Sequence[str]]  # of all gateways there are, ready or not
    key: str
    expected: list[str] = field(default_factory=list)
    doors: list[str] = field(default_factory=list)

    def rehearse(self) -> None:
        """Hear every story once, one after the other."""

        async def tell() -> list[Heard]:
            await self._look()
            async with open_wire(Access(self.key)) as wire:
                clock = clock_from_now()
                return [
                    await listen(
                        self.doors,
                        ask(number, number, clock),
                        clock,
                        resume=False,
                        wire=wire,
                        patience=PATIENCE,
                    )
                    for number in range(STORIES)
                ]

        told = asyncio.run(tell())
        assert {one.end for one in told} == {End.ANSWERED}, told
        self.expected = ["".join(one.said) for one in told]

    @contextmanager
    def listening(self, *, comes_back: bool = True) -> Iterator[list[Heard]]:
        """Everybody listens until the end of the block, and then to the end of what was begun.

        The list grows while they do. AssertionError where somebody heard something wrong. Who
        does not come back is cut when a gateway goes that has not finished what it began.
        """
        heard: list[Heard] = []
        enough = Event()
        with ThreadPoolExecutor(1) as pool:
            listening = pool.submit(lambda: asyncio.run(self._listen(enough, heard, comes_back)))
            try:
                yield heard
            finally:
                enough.set()
            listening.result()
        self.judge(heard)

    def judge(self, heard: Sequence[Heard]) -> None:
        assert len(heard) >= CLIENTS, "hardly anybody heard anything"
        for one in heard:
            assert one.end is End.ANSWERED, one
            wrong = difference("".join(one.said), self.expected[int(one.tag)])
            assert wrong is None, f"tokens {wrong.value}: {one}"
            assert one.tokens == TOKENS

    async def _listen(self, enough: Event, heard: list[Heard], comes_back: bool) -> None:
        await self._look()
        clock, numbers = clock_from_now(), count()
        async with open_wire(Access(self.key)) as wire:

            async def tell(asked: Ask) -> Heard:
                while True:
                    self.doors.append(self.doors.pop(0))  # a Service has no favourite either
                    one = await listen(
                        self.doors, asked, clock, resume=comes_back, wire=wire, patience=PATIENCE
                    )
                    if one.first_s is not None or one.code not in NOT_HERE:
                        return one
                    await asyncio.sleep(READY_EVERY_S)

            async def client(first: int) -> None:
                for turn in count(first):
                    if enough.is_set():
                        return
                    await asyncio.sleep(BREATH_S)
                    heard.append(await tell(ask(next(numbers), turn % STORIES, clock)))

            looking = asyncio.create_task(self._keep_looking())
            try:
                async with asyncio.TaskGroup() as clients:
                    for first in range(CLIENTS):
                        clients.create_task(client(first))
            finally:
                looking.cancel()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(READY_EVERY_S)
            await self._look()

    async def _look(self) -> None:
        """What readiness probes do for a Service. While none is ready, the last ones stay."""
        async with httpx.AsyncClient(timeout=5) as probe:
            urls = list(self.urls())
            ready = await asyncio.gather(*(is_ready(probe, url) for url in urls))
        found = [url for url, takes in zip(urls, ready, strict=True) if takes]
        if found:
            self.doors[:] = found


async def is_ready(probe: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await probe.get(f"{url}/readyz")).is_success
    except httpx.TransportError:
        return False


def ask(number: int, told: int, clock: Clock) -> Ask:
    return Ask(number, str(told), "interactive", clock(), story(told), TOLD_WITHIN_S)


def longest_silence_s(heard: Sequence[Heard]) -> float:
    """Of any stream, between two of its tokens."""
    return max(one.gap_s for one in heard)
