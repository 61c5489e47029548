"""The seam between what is decided and what is computed."""

from __future__ import annotations

from typing import Protocol

from replicas.engine.plan import StepOutcome, StepPlan


class Executor(Protocol):
    """Runs steps, one at a time, in order. Live: the torch runner. Simulated: a cost model."""

    async def execute(self, plan: StepPlan) -> StepOutcome:
        """Compute the step. An exception means that the replica can no longer be trusted."""
        ...
