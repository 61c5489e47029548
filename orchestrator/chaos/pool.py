"""Many simulated runs at once, in as many processes; results come in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from orchestrator.chaos.run import Run, Skipped, play
from orchestrator.chaos.scenario import Scenario
from orchestrator.chaos.worlds import SIMULATED, named

Job = tuple[Scenario, int]
CHUNK = 4  # jobs that a process takes at a time


def at_once(jobs: Sequence[Job], *, processes: int) -> Iterator[Run | Skipped]:
    """In so many simulated worlds. Results come in the order of jobs, whoever is faster."""
    context = get_context("spawn")  # a copy of this process might hold a lock for ever
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(perform, jobs, chunksize=CHUNK)


def perform(job: Job) -> Run | Skipped:
    """In this process."""
    scenario, seed = job
    with named(SIMULATED)() as world:
        return play(world, scenario, seed, lambda _: None)
