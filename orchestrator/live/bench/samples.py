"""Durations of one thing done many times, on the wall and on the CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

NS_PER_US = 1_000


class Samples:
    """How long it took, each time, and what CPU time this process spent on it."""

    def __init__(self) -> None:
        self.wall_ns: list[int] = []
        self.cpu_ns: list[int] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """What is within is done once more."""
        began_ns, began_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        yield
        self.cpu_ns.append(time.process_time_ns() - began_cpu_ns)
        self.wall_ns.append(time.perf_counter_ns() - began_ns)

    def forget(self) -> None:
        """What came so far was for warming up."""
        self.wall_ns.clear()
        self.cpu_ns.clear()

    @property
    def cpu_us(self) -> float:
        """CPU time of each, on average."""
        return fmean(self.cpu_ns) / NS_PER_US

    def wall_us(self, share: float) -> float:
        """The time on the wall that so large a share of them took at most."""
        return percentile(self.wall_ns, share) / NS_PER_US


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
