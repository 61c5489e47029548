"""How far a long run is: one line on a terminal's stderr, which is gone at the end.

Nothing is written where stderr is a file or a pipe.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

PAUSE_S = 0.2  # between two looks at the line
ERASE = "\r\x1b[K"


class Progress:
    """`done` of `total`; used with `with`, told with each step forward."""

    def __init__(self, what: str, total: int) -> None:
        self.done = 0
        self._what = what
        self._total = total
        self._is_shown = sys.stderr.isatty()
        self._began = time.monotonic()
        self._said = 0.0

    def step(self) -> None:
        """One more is done."""
        self.done += 1
        if self._is_shown and time.monotonic() - self._said >= PAUSE_S:
            self._said = time.monotonic()
            self._say(self.line())

    def line(self) -> str:
        """Done of all, and the seconds so far."""
        took_s = time.monotonic() - self._began
        return f"{self._what}: {self.done} of {self._total}, {took_s:.0f} s"

    def clear(self) -> None:
        """Make room for something that stays."""
        if self._is_shown:
            self._say("")

    def _say(self, text: str) -> None:
        sys.stderr.write(ERASE + text)
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()
