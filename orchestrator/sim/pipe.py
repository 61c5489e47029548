"""One direction of a connection: what is sent arrives later, in the order it was sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Message = TypeVar("Message")


class Pipe(Generic[Message]):
    """Calls `receive` with each message, `delay_s` after it was sent, until it is cut."""

    def __init__(self, receive: Callable[[Message], None], *, delay_s: float) -> None:
        self.delivered = 0
        self._receive = receive
        self._delay_s = delay_s
        # Timers of one instant have no order of their own; this queue has.
        self._under_way: deque[Message] = deque()
        self._is_cut = False

    def send(self, message: Message) -> None:
        """Never blocks and never fails: a cut pipe swallows."""
        if not self._is_cut:
            self._under_way.append(message)
            asyncio.get_running_loop().call_later(self._delay_s, self._arrive)

    def cut(self) -> None:
        """Nothing arrives any more, not even what is under way."""
        self._is_cut = True
        self._under_way.clear()

    def _arrive(self) -> None:
        if not self._is_cut:
            self.delivered += 1
            self._receive(self._under_way.popleft())
