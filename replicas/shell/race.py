"""Run several coroutines until the first one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def race(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Return when the first has returned, raise what the first raised; the others are cancelled.

    None of them runs any more afterwards, also when the race itself is cancelled.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:  # in the caller's order, should two have ended at once
        if task in done:
            task.result()
