"""Durations counted by how long they were, for a chart of quantiles.

One per name and class, written on the path of every token: an observation
finds its bucket by bisection and adds two integers, with no lock and no
lookup of labels. Prometheus's own type is made of it when somebody asks.

Written and read by one thread, the gateway's event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily

NS_PER_S = 1_000_000_000


class Histogram:
    """How many durations were at most as long as each bound."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        """Bounds in seconds, as the metric names them, shortest first."""
        self._labels = [*map(str, map(float, bounds_s)), "+Inf"]
        self._bounds_ns = [round(bound * NS_PER_S) for bound in bounds_s]
        self._counts = [0] * len(self._labels)
        self._sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds_ns, duration_ns)] += 1
        self._sum_ns += duration_ns

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """As samples of a metric, under these values of its labels."""
        counts = [float(count) for count in accumulate(self._counts)]
        buckets = list(zip(self._labels, counts, strict=True))
        family.add_metric(labels, buckets, self._sum_ns / NS_PER_S)
