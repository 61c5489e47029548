"""One play of one scenario in a world, judged: the unit of which reports are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.chaos.scenario import Scenario
from orchestrator.chaos.storm import drawn
from orchestrator.chaos.verdict import Verdict, judge
from orchestrator.chaos.world import CannotDo, Observed, World


@dataclass(frozen=True, slots=True)
class Run:
    """`scenario` is as it was played: with what the seed drew."""

    scenario: Scenario
    seed: int
    observed: Observed
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Skipped:
    """A scenario that this world cannot play, and why."""

    scenario: Scenario
    seed: int
    why: str


def play(world: World, scenario: Scenario, seed: int, tell: Callable[[str], None]) -> Run | Skipped:
    """Never raises CannotDo: what a world cannot do is told, not passed over."""
    whole = drawn(scenario, seed)
    try:
        observed = world.play(whole, seed, tell)
    except CannotDo as error:
        return Skipped(whole, seed, str(error))
    return Run(whole, seed, observed, judge(whole, seed, observed))
