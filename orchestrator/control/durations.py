"""Durations counted by how long they were, for a chart of quantiles.

Written where time matters, once for every token: an observation finds its
bucket by bisection and adds two integers, with no lock and no lookup of labels.
What it shows is Prometheus's histogram; it does not know Prometheus.

Written and read by one thread, that of the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from orchestrator.policy.scores import NS_PER_S


class Durations:
    """How many were at most as long as each bound, and how long all were together."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        """Bounds in seconds, as charts name them, shortest first."""
        self._labels = [*map(str, map(float, bounds_s)), "+Inf"]
        self._bounds_ns = [round(bound * NS_PER_S) for bound in bounds_s]
        self._counts = [0] * len(self._labels)
        self._total_ns = 0

    def observe(self, duration_ns: int) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds_ns, duration_ns)] += 1
        self._total_ns += duration_ns

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Each bound in seconds, and how many were no longer."""
        counts = [float(count) for count in accumulate(self._counts)]
        return list(zip(self._labels, counts, strict=True))

    @property
    def total_s(self) -> float:
        """All of them, one after the other."""
        return self._total_ns / NS_PER_S
