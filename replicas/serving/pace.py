"""How long steps take: the mean that reports carry, and the age of the one that runs."""

from __future__ import annotations

import time

# Weight of the newest step, as a shift: an eighth follows a change of load
# within about twenty steps and forgets a single slow one as fast.
_NEWEST_SHIFT = 3


class Pace:
    """Durations of steps. One writer, the stepper."""

    def __init__(self) -> None:
        self._mean_ns = 0
        self._began_ns: int | None = None

    @property
    def mean_ns(self) -> int:
        """Recent mean duration of a step, 0 before the first."""
        return self._mean_ns

    @property
    def age_ns(self) -> int:
        """How long the running step has been running, 0 between steps."""
        return 0 if self._began_ns is None else time.monotonic_ns() - self._began_ns

    def begin(self) -> None:
        assert self._began_ns is None, "steps do not overlap"
        self._began_ns = time.monotonic_ns()

    def end(self) -> None:
        took_ns = self.age_ns
        self._began_ns = None
        if self._mean_ns == 0:
            self._mean_ns = took_ns
        else:
            self._mean_ns += (took_ns - self._mean_ns) >> _NEWEST_SHIFT
