"""Waiting longer after each failure, up to a bound, for ever."""

from __future__ import annotations

import asyncio

FIRST_WAIT_MS = 100


class Backoff:
    """Doubles its wait from 100 ms up to `wait_ms_max`; `reset` after a success."""

    def __init__(self, wait_ms_max: int) -> None:
        self._wait_ms_max = wait_ms_max
        self.reset()

    def reset(self) -> None:
        self._wait_ms = min(FIRST_WAIT_MS, self._wait_ms_max)

    async def wait(self) -> None:
        wait_ms = self._wait_ms
        self._wait_ms = min(2 * wait_ms, self._wait_ms_max)
        await asyncio.sleep(wait_ms / 1000)
