"""Wait for a condition on the running event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

WITHIN_S = 60.0


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Returns once `condition()` is true; AssertionError naming `what` when it never is."""

    async def holds() -> bool:
        return condition()

    await eventually_answers(holds, what)


async def eventually_answers(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """The same for a condition that has to be asked for."""
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {WITHIN_S} s: {what}"
        await asyncio.sleep(0.002)
