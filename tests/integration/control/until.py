"""Wait for a condition on the running loop, with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

POLL_S = 0.005
WITHIN_S = 60.0


async def until(condition: Callable[[], object], what: str) -> None:
    """Returns once the condition holds; AssertionError naming `what` when it never does."""

    async def holds() -> object:
        return condition()

    await until_true(holds, what)


async def until_true(ask: Callable[[], Awaitable[object]], what: str) -> None:
    """The same for a condition that must be asked for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WITHIN_S
    while not await ask():
        assert loop.time() < deadline, f"not within {WITHIN_S} s: {what}"
        await asyncio.sleep(POLL_S)
