"""The operating system's clock, behind the Clock seam."""

from __future__ import annotations

import asyncio
import time


class OsClock:
    """Monotonic: it never jumps, and says nothing about the date."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
