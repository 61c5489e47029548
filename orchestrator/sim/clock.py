"""The Clock seam in virtual time."""

from __future__ import annotations

import asyncio

from orchestrator.sim.loop import VirtualTimeLoop


class VirtualClock:
    """The clock of one VirtualTimeLoop, or one that is ahead of it."""

    def __init__(self, loop: VirtualTimeLoop, *, ahead_ns: int = 0) -> None:
        self.loop = loop
        self._ahead_ns = ahead_ns

    def now_ns(self) -> int:
        return self.loop.now_ns + self._ahead_ns

    def jump(self, by_ns: int) -> None:
        """From now on it is ahead by so much more."""
        self._ahead_ns += by_ns

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
