"""Spikes: stretches of time in which a workload runs so many times as fast.

Arrivals are laid out on a time of their own that passes faster inside a spike.
For a Poisson process that is a higher rate; for a trace, a faster replay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from orchestrator.workload.traffic import NS_PER_S, Arrival

SPIKE_SECONDS = 10.0
_FORM = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)x(?::(\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Spike:
    """So many times the rate, for a while."""

    at_s: float
    times: float
    seconds: float

    @property
    def ends_s(self) -> float:
        return self.at_s + self.seconds

    @property
    def extra_s(self) -> float:
        """How much more of the workload it takes than its own seconds."""
        return self.seconds * (self.times - 1)


def parse_spike(word: str) -> Spike:
    """From `60:10x` or `60:10x:30`. Raises ValueError."""
    match = _FORM.fullmatch(word)
    if match is None or not float(match[2]) or not float(match[3] or SPIKE_SECONDS):
        raise ValueError(f"{word}: write AT:TIMESx or AT:TIMESx:SECONDS, such as 60:10x:30")
    return Spike(float(match[1]), float(match[2]), float(match[3] or SPIKE_SECONDS))


def in_order(spikes: Iterable[Spike]) -> tuple[Spike, ...]:
    """By time. Raises ValueError where two overlap."""
    ordered = tuple(sorted(spikes, key=lambda spike: spike.at_s))
    for earlier, later in pairwise(ordered):
        if later.at_s < earlier.ends_s:
            raise ValueError(f"the spikes at {earlier.at_s:g} s and {later.at_s:g} s overlap")
    return ordered


def surged(arrivals: Iterable[Arrival], spikes: Sequence[Spike]) -> Iterator[Arrival]:
    """The same arrivals, faster in every spike and earlier after it."""
    for arrival in arrivals:
        at_s = real_s(arrival.arrival_ns / NS_PER_S, spikes)
        yield replace(arrival, arrival_ns=round(at_s * NS_PER_S))


def real_s(workload_s: float, spikes: Sequence[Spike]) -> float:
    """When the workload's own time is so much."""
    for spike in spikes:
        inside_s = workload_s - spike.at_s
        if inside_s <= 0:
            break
        if inside_s < spike.seconds * spike.times:
            return spike.at_s + inside_s / spike.times
        workload_s -= spike.extra_s
    return workload_s
