"""What was used of a limit in the last minute, and when how much of it is free again.

Two counters stand for a minute that slides: what the current fixed minute has
used, and what the one before it has, weighted by how much of it still lies
within the last sixty seconds. Both run out by themselves: `current_s` is how
long the current counter still matters, of which it is weighted down in the
last minute, once the next one has begun. (The sliding window counter of the
`limits` library, which keeps them.)

Pure: nothing here asks a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Window:
    """Use of one limit, now."""

    previous: int
    previous_s: float
    current: int
    current_s: float

    def used(self, in_s: float = 0.0) -> int:
        """In the minute that ends so many seconds from now, if nothing more is used."""
        before = self.previous * max(0.0, self.previous_s - in_s) / MINUTE_S
        share = min(1.0, max(0.0, self.current_s - in_s) / MINUTE_S)
        return math.floor(before + self.current * share)

    def plus(self, amount: int) -> Window:
        """After so much more was used, in the current minute or by that in a new one."""
        current_s = self.current_s or 2.0 * MINUTE_S
        return replace(self, current=self.current + amount, current_s=current_s)

    def remaining(self, limit: int) -> int:
        """What is left of the limit."""
        return max(0, limit - self.used())

    def wait_s(self, amount: int, limit: int) -> int:
        """Whole seconds until so much is free, as far as is known now; `amount` <= `limit`."""
        if self.used() + amount <= limit:
            return 0
        room = limit - amount + 1  # below this: use is rounded down
        if self.current < room:  # while the minute before slides out
            seconds = self.previous_s - (room - self.current) * MINUTE_S / self.previous
        else:
            seconds = self.current_s - room * MINUTE_S / self.current
        return math.floor(seconds) + 1

    def reset_s(self) -> int:
        """Whole seconds until nothing of it is used any more."""
        return math.ceil(self.current_s if self.current else self.previous_s * bool(self.previous))
