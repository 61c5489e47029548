"""The Executor seam: takes as long as a GPU would, and computes nothing.

Tokens are those of tokens.py, so a completion can be checked from end to end.
What a block holds is not modelled (exact_executor.py does that).

A plan that may be repeated is: to simulate one long step costs as much as a short
one. It takes the time of its steps, to the nanosecond, and ends with the step that
runs when somebody gives the engine something to do. So what others do meets the
same steps at the same times as if each had a plan of its own.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice

from orchestrator.control.seams import Clock
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.tokens import next_token, sampled, tokens_after
from protos.messages import SampledToken
from replicas.engine.acceptance import accepted, samples_along
from replicas.engine.plan import BlockId, Row, Sample, StepOutcome, StepPlan
from replicas.shell.waiting import set_within

NOTHING = b"\0"  # what a block of nothing is sent as


class CostExecutor:
    """One simulated GPU. `slowness` stretches its steps; none ends before `frozen_until_ns`.

    `work` is set when the engine is given something to do; without it no plan is repeated.
    Blocks that come from elsewhere take their time to be written, between two steps.
    """

    block_bytes = len(NOTHING)

    def __init__(
        self,
        clock: Clock,
        cost_model: CostModel,
        *,
        work: asyncio.Event | None = None,
        write_block_ns: int = 0,
    ) -> None:
        self.busy_ns = 0
        self._work = work
        self._write_block_ns = write_block_ns
        self.slowness = 1
        self.frozen_until_ns = 0
        self._clock = clock
        self._cost_model = cost_model

    async def execute(self, plan: StepPlan) -> StepOutcome:
        """Sleep the cost of its steps, then choose the tokens that its rows ask for."""
        steps = 1
        cost_ns = self._cost_model.cost_ns(plan) * self.slowness
        if plan.steps_max > 1 and self._work is not None:
            steps, cost_ns = await self._repeat(plan, cost_ns, self._work)
        else:
            await self._clock.sleep(cost_ns / NS_PER_S)
        while (left_ns := self.frozen_until_ns - self._clock.now_ns()) > 0:
            await self._clock.sleep(left_ns / NS_PER_S)
        self.busy_ns += cost_ns
        return self.compute(plan) if steps == 1 else chosen(plan, steps)

    async def _repeat(self, plan: StepPlan, first_ns: int, work: asyncio.Event) -> tuple[int, int]:
        """Let steps go by, of which the first takes so long: how many did, in what time."""
        growth_ns = self._cost_model.growth_ns(plan) * self.slowness

        def all_ns(steps: int) -> int:
            return steps * first_ns + steps * (steps - 1) // 2 * growth_ns

        began_ns = self._clock.now_ns()
        await set_within(work, all_ns(plan.steps_max) / NS_PER_S)
        spent_ns = self._clock.now_ns() - began_ns
        steps = 1 + bisect_left(range(1, plan.steps_max), spent_ns, key=all_ns)
        await self._clock.sleep((all_ns(steps) - spent_ns) / NS_PER_S)
        return steps, all_ns(steps)

    def compute(self, plan: StepPlan) -> StepOutcome:
        """What a single step yields."""
        return StepOutcome(tuple(map(choose_of_row, plan.rows)))

    async def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]:
        return (NOTHING,) * len(blocks)

    async def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
        if any(payload != NOTHING for payload in payloads):
            raise ValueError("A block of nothing is sent as a byte of nothing.")
        await self._clock.sleep(len(blocks) * self._write_block_ns / NS_PER_S)


def chosen(plan: StepPlan, steps: int) -> StepOutcome:
    """What so many steps by one plan yield."""
    return StepOutcome(
        tuple([choose_all(sample, steps) for row in plan.rows for sample in row.samples]), steps
    )


def choose_all(sample: Sample, steps: int) -> tuple[SampledToken, ...]:
    """The sample's next tokens."""
    prompt, output = sample.prompt, sample.output
    last = output[-1] if output else prompt[-1]
    tokens = tokens_after(sample.seed, last, len(prompt) + len(output))
    return tuple(map(sampled, islice(tokens, steps)))


def choose_of_row(row: Row) -> tuple[SampledToken, ...]:
    """What a row gets in a single step."""
    if not row.guesses:
        return tuple(map(choose, row.samples))
    return accepted(row, (choose(sample) for (sample,) in samples_along(row)))


def choose(sample: Sample) -> SampledToken:
    """The sample's next token."""
    prompt, output = sample.prompt, sample.output
    last = output[-1] if output else prompt[-1]
    return sampled(next_token(sample.seed, last, len(prompt) + len(output)))
