"""The Executor seam: takes as long as a GPU would, and computes nothing.

Tokens are those of tokens.py, so a completion can be checked from end to end.
What a block holds is not modelled (exact_executor.py does that).
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.control.seams import Clock
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.tokens import next_token, sampled
from protos.messages import SampledToken
from replicas.engine.plan import BlockId, Sample, StepOutcome, StepPlan

NOTHING = b"\0"  # what a block of nothing is sent as


class CostExecutor:
    """One simulated GPU. `slowness` stretches its steps; none ends before `frozen_until_ns`.

    Blocks that come from elsewhere take their time to be written, between two steps.
    """

    block_bytes = len(NOTHING)

    def __init__(self, clock: Clock, cost_model: CostModel, *, write_block_ns: int = 0) -> None:
        self.busy_ns = 0
        self._write_block_ns = write_block_ns
        self.slowness = 1
        self.frozen_until_ns = 0
        self._clock = clock
        self._cost_model = cost_model

    async def execute(self, plan: StepPlan) -> StepOutcome:
        """Sleep the step's cost, then choose the tokens that its rows ask for."""
        cost_ns = self._cost_model.cost_ns(plan) * self.slowness
        await self._clock.sleep(cost_ns / NS_PER_S)
        while (left_ns := self.frozen_until_ns - self._clock.now_ns()) > 0:
            await self._clock.sleep(left_ns / NS_PER_S)
        self.busy_ns += cost_ns
        return self.compute(plan)

    def compute(self, plan: StepPlan) -> StepOutcome:
        """What the step yields."""
        return StepOutcome(tuple([tuple(map(choose, row.samples)) for row in plan.rows]))

    async def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]:
        return (NOTHING,) * len(blocks)

    async def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
        if any(payload != NOTHING for payload in payloads):
            raise ValueError("A block of nothing is sent as a byte of nothing.")
        await self._clock.sleep(len(blocks) * self._write_block_ns / NS_PER_S)


def choose(sample: Sample) -> SampledToken:
    """The sample's next token."""
    prompt, output = sample.prompt, sample.output
    last = output[-1] if output else prompt[-1]
    return sampled(next_token(sample.seed, last, len(prompt) + len(output)))
