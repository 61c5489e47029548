"""A moment after which something is done, unless it is called off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timer:
    """Runs `action` once, `after_s` after the first `start` that no `stop` followed."""

    __slots__ = ("_action", "_after_s", "_handle", "_loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, after_s: float, action: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._after_s = after_s
        self._action = action
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The time runs from now, or goes on running."""
        if self._handle is None:
            self._handle = self._loop.call_later(self._after_s, self._run)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = None
        self._action()
