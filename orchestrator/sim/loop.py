"""An asyncio event loop whose clock jumps to the next timer instead of sleeping.

Asyncio asks its selector to wait until the next timer is due. This loop's
selector does not wait: it moves the clock by as much and reports that no file
is ready. Everything built on timers works as ever: `timeout`, `wait_for`,
`TaskGroup`, cancellation.

Time is an integer of nanoseconds, so it does not drift. A world in which
nothing can run and no timer is set would wait for ever; here that raises
Deadlock. There is no outside: no file, thread or signal wakes this loop.

Tasks are numbered, and a task's number is its hash. Asyncio keeps tasks in
sets, and cancels those of a group in the order of the set; by address that
order would be another one in each process.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from itertools import count
from typing import Any

NS_PER_S = 1_000_000_000


class Deadlock(RuntimeError):
    """Nothing is runnable and no timer is pending."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 0 ns. `now_ns` and `time()` are the same clock."""

    def __init__(self) -> None:
        self.now_ns = 0
        super().__init__(_JumpSelector(self))
        self._numbers = count()
        self.set_task_factory(self._number_task)  # type: ignore[arg-type]

    def time(self) -> float:
        return self.now_ns / NS_PER_S

    def _number_task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **more: Any
    ) -> asyncio.Task[Any]:
        return _NumberedTask(next(self._numbers), work, loop=loop, **more)


class _NumberedTask(asyncio.Task[Any]):
    def __init__(self, number: int, work: Coroutine[Any, Any, Any], **more: Any) -> None:
        self._number = number
        super().__init__(work, **more)

    def __hash__(self) -> int:
        return self._number


class _JumpSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("nothing is runnable and no timer is pending")
        if timeout > 0:
            # At least one: a wait too short for the clock must not be one for ever.
            self._loop.now_ns += max(1, round(timeout * NS_PER_S))
        return []
