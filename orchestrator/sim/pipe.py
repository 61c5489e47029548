"""One direction of a connection: what is sent arrives later, in the order it was sent.

A pipe can be held up: nothing arrives until it flows again, and then all of
it, as in a network that was parted for a while. It can be cut, which loses
what is under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Message = TypeVar("Message")


class Pipe(Generic[Message]):
    """Calls `receive` with each message, `delay_s` after it was sent, until it is cut."""

    def __init__(self, receive: Callable[[Message], None], *, delay_s: float) -> None:
        self.delay_s = delay_s
        self.lag_s: Callable[[], float] | None = None  # by which the next message comes later
        self._receive = receive
        # Timers of one instant have no order of their own; this queue has.
        self._under_way: deque[Message] = deque()
        self._last_at = 0.0  # when the newest message arrives: none overtakes another
        self._due = 0  # of those under way: at the end already, and held up there
        self._is_held = False
        self._is_cut = False

    def send(self, message: Message) -> None:
        """Never blocks and never fails: a cut pipe swallows."""
        if not self._is_cut:
            self._under_way.append(message)
            loop = asyncio.get_running_loop()
            lag_s = 0.0 if self.lag_s is None else self.lag_s()
            self._last_at = max(self._last_at, loop.time() + self.delay_s + lag_s)
            loop.call_at(self._last_at, self._arrive)

    def cut(self) -> None:
        """Nothing arrives any more, not even what is under way."""
        self._is_cut = True
        self._under_way.clear()

    def hold(self) -> None:
        """Nothing arrives until `flow`."""
        self._is_held = True

    def flow(self) -> None:
        """What was held up arrives now. Idempotent."""
        self._is_held = False
        due, self._due = self._due, 0
        for _ in range(due):
            self._arrive()

    def _arrive(self) -> None:
        if self._is_cut:
            return
        if self._is_held:
            self._due += 1
            return
        self._receive(self._under_way.popleft())
