"""The network between the members of one machine: a proxy before each, a way between any two.

It lives on an event loop and in a thread of its own, because it must carry
whatever its owner does meanwhile. The owner calls it from his thread; every
verb has taken effect when it returns. Whoever is no member takes a way on
which nothing ever goes wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from orchestrator.live.chaos.loop_thread import LoopThread
from orchestrator.live.chaos.proxy import Proxy
from orchestrator.live.chaos.way import Way


class Network:
    """A context manager; `member_at`: which member, if any, connected one port to the other."""

    def __init__(self, member_at: Callable[[int, int], str | None]) -> None:
        self._member_at = member_at
        self._ways: dict[frozenset[str], Way] = {}
        self._proxies: dict[str, list[Proxy]] = {}
        self._loop = LoopThread("network")

    def __enter__(self) -> Self:
        self._loop.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.run(self._stop())
        self._loop.__exit__(kind, error, trace)

    def open(self, member: str, target_port: int, *, caller: str | None = None) -> int:
        """The port at which the member is reached: by everybody, or by one caller."""
        return self._loop.run(self._open(member, target_port, caller))

    def redirect(self, member: str, target_port: int) -> None:
        """Another process answers for the member; what is open to the old one is reset."""
        self._loop.run(self._redirect(member, target_port))

    def delay(self, one: str, other: str, delay_s: float) -> None:
        self._change(one, other, lambda way: way.delay(delay_s))

    def lose(self, one: str, other: str, share: float) -> None:
        self._change(one, other, lambda way: way.lose(share))

    def part(self, one: str, other: str) -> None:
        self._change(one, other, Way.part)

    def join(self, one: str, other: str) -> None:
        """They are parted no more."""
        self._change(one, other, Way.join)

    def heal(self, one: str, other: str) -> None:
        self._change(one, other, Way.heal)

    def sever(self, one: str, other: str) -> None:
        """Reset what is open between the two, once."""
        self._change(one, other, Way.sever)

    def way(self, one: str, other: str) -> Way:
        """The one that connections between the two take, to look at."""

        async def find() -> Way:
            return self._way(one, other)

        return self._loop.run(find())

    def heal_all(self) -> None:
        for pair in tuple(self._ways):
            self.heal(*sorted(pair))

    # ---- on its own loop

    def _change(self, one: str, other: str, change: Callable[[Way], None]) -> None:
        async def apply() -> None:
            change(self._way(one, other))

        self._loop.run(apply())

    def _way(self, one: str, other: str) -> Way:
        assert one != other, f"there is no way from {one} to itself"
        return self._ways.setdefault(frozenset((one, other)), Way())

    async def _open(self, member: str, target_port: int, caller: str | None) -> int:
        async def way_of(port: int, to_port: int) -> Way:
            # Looking through the tables of several processes takes milliseconds.
            name = caller or await asyncio.to_thread(self._member_at, port, to_port)
            return Way() if name is None else self._way(name, member)

        proxy = Proxy(target_port, way_of)
        self._proxies.setdefault(member, []).append(proxy)
        return await proxy.start()

    async def _redirect(self, member: str, target_port: int) -> None:
        for proxy in self._proxies[member]:
            proxy.target_port = target_port
        for pair, way in self._ways.items():
            if member in pair:
                way.sever()

    async def _stop(self) -> None:
        proxies = [proxy for proxies in self._proxies.values() for proxy in proxies]
        await asyncio.gather(*(proxy.stop() for proxy in proxies))
