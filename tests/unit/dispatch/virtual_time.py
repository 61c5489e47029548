"""An event loop whose clock jumps: waiting costs nothing and a hang is an error."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes by as much as the loop would have waited."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        super().__init__(Jump(self))

    def time(self) -> float:
        return self.elapsed


class Jump(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits and nothing can happen any more"
        self._loop.elapsed += max(0.0, timeout)
        return []


class LoopClock:
    """The Clock seam on the running loop."""

    def now_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * 1e9)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(scenario: Coroutine[Any, Any, Result]) -> Result:
    """The scenario's result, in virtual time; errors of forgotten tasks fail the test too."""
    errors: list[Mapping[str, Any]] = []
    loop = VirtualLoop()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    try:
        result = loop.run_until_complete(scenario)
    finally:
        loop.run_until_complete(cancel_the_rest())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert errors == []
    return result


async def cancel_the_rest() -> None:
    """End what a failed scenario left running, so that it does not fail the next one too."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
