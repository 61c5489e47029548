"""An exact executor whose process dies of certain requests, before it says a word of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set

from orchestrator.control.seams import Clock
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.exact_executor import ExactExecutor
from replicas.engine.plan import StepOutcome, StepPlan


class MortalExecutor(ExactExecutor):
    """`die` ends the process that it is called in; `deadly`: the seeds of such requests."""

    def __init__(
        self,
        clock: Clock,
        cost_model: CostModel,
        *,
        blocks_total: int,
        block_size: int,
        deadly: Set[int],
        die: Callable[[], None],
    ) -> None:
        super().__init__(clock, cost_model, blocks_total=blocks_total, block_size=block_size)
        self._deadly = deadly
        self._die = die

    async def execute(self, plan: StepPlan) -> StepOutcome:
        if self._deadly and any(s.seed in self._deadly for row in plan.rows for s in row.samples):
            self._die()
            await asyncio.Event().wait()  # nothing of it happens any more
        return await super().execute(plan)
