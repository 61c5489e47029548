"""A world whose clients may be sent to another door, and what is played in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.chaos.library import load
from orchestrator.chaos.run import Run, play
from orchestrator.chaos.scenario import Expectations, Scenario
from orchestrator.chaos.stretch import lasting
from orchestrator.live.chaos.local import Local


@dataclass
class World(Local):
    """The door is a gateway's address; None: the gateways' own."""

    door: str | None = None

    def doors(self, scenario: Scenario) -> list[str]:
        return super().doors(scenario) if self.door is None else [self.door]


def played(world: World, scenario: Scenario) -> Run:
    run = play(world, scenario, 0, print)
    assert isinstance(run, Run)
    return run


def peaceful() -> Scenario:
    """Nothing goes wrong."""
    scenario = lasting(load("redis-flush"), 2.0)
    return replace(scenario, name="peaceful", faults=(), expect=Expectations())
