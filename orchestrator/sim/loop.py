"""An asyncio event loop whose clock jumps to the next timer instead of sleeping.

Asyncio asks its selector to wait until the next timer is due. This loop's
selector does not wait: it moves the clock by as much and reports that no file
is ready. Everything built on timers works as ever: `timeout`, `wait_for`,
`TaskGroup`, cancellation.

Time is an integer of nanoseconds, so it does not drift. A world in which
nothing can run and no timer is set would wait for ever; here that raises
Deadlock. There is no outside: no file, thread or signal wakes this loop.
"""

from __future__ import annotations

import asyncio
import selectors

NS_PER_S = 1_000_000_000


class Deadlock(RuntimeError):
    """Nothing is runnable and no timer is pending."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 0 ns. `now_ns` and `time()` are the same clock."""

    def __init__(self) -> None:
        self.now_ns = 0
        super().__init__(_JumpSelector(self))

    def time(self) -> float:
        return self.now_ns / NS_PER_S


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
