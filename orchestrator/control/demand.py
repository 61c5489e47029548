"""How many blocks interactive requests have been asking for lately.

What they took in the last seconds is what they may need in the next ones, and
so much is kept free for them. A sum that halves with time: when nobody asks
any more, the reserve is lent to the others bit by bit.
"""

from __future__ import annotations

HALF_LIFE_NS = 10_000_000_000  # about four chats after another


class Demand:
    """A sum that fades."""

    def __init__(self) -> None:
        self._blocks = 0.0
        self._at_ns = 0

    def add(self, blocks: int, now_ns: int) -> None:
        """So many were taken."""
        self._blocks = self.at(now_ns) + blocks
        self._at_ns = now_ns

    def at(self, now_ns: int) -> float:
        """Blocks taken of late; what was taken a half-life ago counts half."""
        halvings = (now_ns - self._at_ns) / HALF_LIFE_NS
        return self._blocks * float(0.5**halvings)
