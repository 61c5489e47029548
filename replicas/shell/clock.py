"""The event loop's own time: the operating system's clock, or a simulated one."""

from __future__ import annotations

import asyncio

NS_PER_S = 1_000_000_000


def now_ns() -> int:
    """Nanoseconds since some fixed moment, by the loop that runs."""
    return round(asyncio.get_running_loop().time() * NS_PER_S)
