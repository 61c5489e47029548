"""Where steps are computed, and whose time it takes.

The replay asks a machine what the time is and lets it compute. The simulated
one computes nothing and says that it took as long as a GPU would; the live one
(orchestrator/live/incident) runs a real model and counts what it computes.
"""

from __future__ import annotations

from typing import Protocol

from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.executor import choose_of_row
from replicas.engine.plan import StepOutcome, StepPlan


class Machine(Protocol):
    """One replica's device. Its time begins with `start`."""

    def start(self) -> None: ...

    def now_ns(self) -> int: ...

    def wait_until(self, at_ns: int) -> None:
        """Nothing is to be computed before."""
        ...

    def compute(self, plan: StepPlan) -> StepOutcome:
        """Run the step, which takes time."""
        ...


class SimulatedMachine:
    """Virtual time: a step's cost by the cost model."""

    def __init__(self, cost_model: CostModel) -> None:
        self._cost_model = cost_model
        self._now_ns = 0

    def start(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def wait_until(self, at_ns: int) -> None:
        self._now_ns = max(self._now_ns, at_ns)

    def compute(self, plan: StepPlan) -> StepOutcome:
        self._now_ns += self._cost_model.cost_ns(plan)
        return StepOutcome(tuple(map(choose_of_row, plan.rows)))
