"""Many simulated runs at once, in as many processes; results come in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.chaos.run import Run, Skipped, play
from orchestrator.chaos.scenario import Scenario
from orchestrator.chaos.worlds import SIMULATED, named
from orchestrator.crew import in_order

Job = tuple[Scenario, int]


def at_once(jobs: Sequence[Job], *, processes: int) -> Iterator[Run | Skipped]:
    """In so many simulated worlds. Results come in the order of jobs, whoever is faster."""
    return in_order(perform, jobs, workers=processes)


def perform(job: Job) -> Run | Skipped:
    """In this process."""
    scenario, seed = job
    with named(SIMULATED)() as world:
        return play(world, scenario, seed, lambda _: None)
