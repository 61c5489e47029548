"""The Executor seam: takes as long as a GPU would, and computes nothing.

Tokens are those of tokens.py, so a completion can be checked from end to end.
"""

from __future__ import annotations

from orchestrator.control.seams import Clock
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.tokens import next_token, sampled
from protos.messages import SampledToken
from replicas.engine.plan import Sample, StepOutcome, StepPlan


class CostExecutor:
    """One simulated GPU."""

    def __init__(self, clock: Clock, cost_model: CostModel) -> None:
        self.busy_ns = 0
        self.copied_blocks = 0
        self._clock = clock
        self._cost_model = cost_model

    async def execute(self, plan: StepPlan) -> StepOutcome:
        """Sleep the step's cost, then choose the tokens that its rows ask for."""
        cost_ns = self._cost_model.cost_ns(plan)
        await self._clock.sleep(cost_ns / NS_PER_S)
        self.busy_ns += cost_ns
        self.copied_blocks += len(plan.copies)
        return StepOutcome(tuple(tuple(map(choose, row.samples)) for row in plan.rows))


def choose(sample: Sample) -> SampledToken:
    """The sample's next token."""
    output = sample.output
    last = output[-1] if output else sample.prompt[-1]
    return sampled(next_token(sample.seed, last, len(sample.prompt) + len(output)))
