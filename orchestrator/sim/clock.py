"""The Clock seam in virtual time."""

from __future__ import annotations

import asyncio

from orchestrator.sim.loop import VirtualTimeLoop


class VirtualClock:
    """The clock of one VirtualTimeLoop."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def now_ns(self) -> int:
        return self._loop.now_ns

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
