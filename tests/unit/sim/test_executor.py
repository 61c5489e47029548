"""A repeated plan takes the time of its steps, and ends between two of them when there is work."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import accumulate
from typing import cast

import pytest

from orchestrator.sim.clock import VirtualClock
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.executor import CostExecutor
from orchestrator.sim.loop import NS_PER_S, VirtualTimeLoop
from orchestrator.workload.tokens import next_token
from protos.messages import SampledToken, SamplingParams
from replicas.engine.plan import BlockId, Row, Sample, StepOutcome, StepPlan

MODEL = CostModel()
STEPS = 10
PARAMS = SamplingParams(tokens_max=99)


def row(seed: int, context: int) -> Row:
    sample = Sample(PARAMS, seed, tuple(range(context)), [7])
    return Row((7,), context, (BlockId(0),), (sample,))


PLAN = StepPlan((), (row(1, 1000), row(2, 30)), steps_max=STEPS)


def step(number: int) -> StepPlan:
    """The plan that there would be for this step alone, but for its tokens."""
    return replace(
        PLAN,
        rows=tuple(replace(each, start=each.start + number) for each in PLAN.rows),
        steps_max=1,
    )


ENDS_NS = list(accumulate(MODEL.cost_ns(step(number)) for number in range(STEPS)))


def executed(work_at_ns: int | None, *, slowness: int = 1) -> tuple[StepOutcome, int, int]:
    """The outcome, when it came, and for how long the executor says that it was busy."""

    async def live() -> tuple[StepOutcome, int, int]:
        clock = VirtualClock(cast(VirtualTimeLoop, asyncio.get_running_loop()))
        work = asyncio.Event()
        executor = CostExecutor(clock, MODEL, work=work)
        executor.slowness = slowness
        if work_at_ns is not None:
            asyncio.get_running_loop().call_at(work_at_ns / NS_PER_S, work.set)
            await clock.sleep(0)
        outcome = await executor.execute(PLAN)
        return outcome, clock.now_ns(), executor.busy_ns

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(live())


def test_all_its_steps_take_what_each_would_take_alone() -> None:
    outcome, at_ns, busy_ns = executed(None)
    assert outcome.steps == STEPS
    assert at_ns == busy_ns == ENDS_NS[-1]


@pytest.mark.parametrize("running", range(STEPS))
def test_it_ends_with_the_step_that_runs_when_work_comes(running: int) -> None:
    begins_ns = ENDS_NS[running - 1] if running else 0
    for work_at_ns in (begins_ns + 1, (begins_ns + ENDS_NS[running]) // 2, ENDS_NS[running]):
        outcome, at_ns, busy_ns = executed(work_at_ns)
        assert outcome.steps == running + 1
        assert at_ns == busy_ns == ENDS_NS[running]


def test_work_that_was_there_before_leaves_one_step() -> None:
    outcome, at_ns, _ = executed(0)
    assert (outcome.steps, at_ns) == (1, ENDS_NS[0])


def test_a_slow_one_takes_as_many_steps_in_more_time() -> None:
    outcome, at_ns, busy_ns = executed(3 * ENDS_NS[4] - 1, slowness=3)
    assert (outcome.steps, at_ns, busy_ns) == (5, 3 * ENDS_NS[4], 3 * ENDS_NS[4])


def test_its_tokens_are_those_of_single_steps() -> None:
    outcome, _, _ = executed(None)
    for each, said in zip(PLAN.rows, outcome.sampled, strict=True):
        (sample,) = each.samples
        last, expected = 7, []
        for position in range(each.start + 1, each.start + 1 + STEPS):
            last = next_token(sample.seed, last, position)
            expected.append(SampledToken(last))
        assert list(said) == expected


async def test_without_the_event_nothing_is_repeated() -> None:
    def live() -> StepOutcome:
        async def run() -> StepOutcome:
            clock = VirtualClock(cast(VirtualTimeLoop, asyncio.get_running_loop()))
            return await CostExecutor(clock, MODEL).execute(PLAN)

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(run())

    outcome = await asyncio.to_thread(live)
    assert outcome.steps == 1
    assert [len(each) for each in outcome.sampled] == [1, 1]
