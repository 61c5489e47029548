"""The seam between a scenario and the worlds that can play it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.chaos.faults import TimedFault
from orchestrator.chaos.scenario import Scenario
from orchestrator.workload.heard import Heard


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that was made to happen, and when it began and was over."""

    fault: TimedFault
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a verdict may look at."""

    heard: tuple[Heard, ...]  # one for each request that was due
    # What each request says undisturbed, by number; absent where even that is not repeatable.
    expected: Mapping[int, tuple[str, ...]]
    struck: tuple[Struck, ...]
    leaks: tuple[str, ...]  # what was still held when all was quiet, a sentence each
    totals: Mapping[str, int]  # what the servers counted: moves, resumptions, preemptions...
    seconds: float  # it took, on the world's own clock
    broken: tuple[str, ...] = ()  # rules that the servers themselves found broken, a sentence each
    # Whether the same request says the same twice in this world, so that all can be compared.
    is_repeatable: bool = True
    # Whether its times are nobody's but the cluster's: no client notices late there.
    is_exact: bool = False


class CannotDo(Exception):
    """This world has no way to make the fault happen; the message names it."""


class World(Protocol):
    """Plays scenarios, one after the other."""

    def play(self, scenario: Scenario, seed: int, tell: Callable[[str], None]) -> Observed:
        """From a healthy cluster to a healthy cluster. Raises CannotDo before it begins."""
        ...
