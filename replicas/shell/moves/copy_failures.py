"""Copies that fail in a row, and the rest that follows: a peer network may be down.

One failure may be its source's fault. After several without a success between
them no copies are made here for a while; then one is tried, and if that fails,
too, the rest is twice as long, up to a bound. Requests compute meanwhile.
"""

from __future__ import annotations

from protos.moves import CopyOutcome
from replicas.shell.moves.limits import MoveLimits

FAILURES = frozenset({CopyOutcome.LOST, CopyOutcome.BROKEN, CopyOutcome.LATE})
SUCCESSES = frozenset({CopyOutcome.COPIED, CopyOutcome.PARTLY})


class CopyFailures:
    """Counts them. Outcomes that say nothing about the way here are not counted."""

    def __init__(self, limits: MoveLimits) -> None:
        self._limits = limits
        self._in_a_row = 0
        self._rest_ms = limits.copy_rest_ms_min
        self.is_resting = False

    def begin_rest(self, outcome: CopyOutcome) -> int | None:
        """After this outcome: for how many milliseconds to make no copies; None: go on."""
        if outcome in SUCCESSES:
            self._in_a_row = 0
            self._rest_ms = self._limits.copy_rest_ms_min
        elif outcome in FAILURES:
            self._in_a_row += 1
        if self.is_resting or self._in_a_row < self._limits.copy_failures_max:
            return None
        self.is_resting = True
        rest_ms = self._rest_ms
        self._rest_ms = min(2 * rest_ms, self._limits.copy_rest_ms_max)
        return rest_ms

    def end_rest(self) -> None:
        self.is_resting = False
