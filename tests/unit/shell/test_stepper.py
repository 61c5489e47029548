"""The loop that turns: it steps while there is work, rests, and dies loudly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

import pytest

from protos.messages import BlockEvent, BlockStored, Delta, StepTotals
from replicas.engine.engine import Engine
from replicas.engine.marks import Mark
from replicas.engine.plan import BlockId, StepOutcome, StepPlan
from replicas.serving.executor import ThreadExecutor
from replicas.shell.pace import Pace, Phase
from replicas.shell.stepper import JOBS_MAX, Stepper, SteppingEnded
from tests.unit.dispatch.virtual_time import run
from tests.unit.shell.counting import CountingExecutor, counted, engine, request
from tests.unit.shell.eventually import WITHIN_S, eventually


class Loop:
    """A stepper over an engine, with everything it tells."""

    def __init__(self, executor: CountingExecutor | ThreadExecutor) -> None:
        self.engine: Engine = engine()
        self.pace = Pace()
        self.work = asyncio.Event()
        self.marks: list[Mark] = []
        self.deltas: list[Delta] = []
        self.block_events: list[BlockEvent] = []
        self.stepper = Stepper(
            self.engine,
            executor,
            self.pace,
            self.work,
            give_up=self.give_up,
            begin=self.marks.extend,
            deliver=self.deltas.extend,
            publish=self.block_events.extend,
            check_interval_ms=0,
        )

    def give_up(self) -> None:
        self.engine.give_up(0)

    def submit(self, name: str) -> None:
        assert self.engine.submit(request(name)) is None
        self.work.set()

    async def idle(self) -> None:
        await asyncio.wait_for(self.stepper.idle(), WITHIN_S)

    @asynccontextmanager
    async def turning(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.stepper.run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, RuntimeError, AssertionError):
                await task


async def test_work_wakes_it_and_the_end_of_work_is_idle() -> None:
    loop = Loop(CountingExecutor())
    async with loop.turning():
        for round_trip in range(1, 3):
            loop.submit("a")
            await loop.idle()
            assert len(loop.deltas) == 5 * round_trip
            assert loop.pace.times.mean_ns > 0
    # 6 prompt tokens and 5 chosen: the KV of 10, two full blocks, twice
    assert len([event for event in loop.block_events if isinstance(event, BlockStored)]) == 4


async def test_the_event_loop_goes_on_while_a_step_computes() -> None:
    executor = CountingExecutor()
    executor.hold()
    loop = Loop(executor)
    async with loop.turning():
        loop.submit("a")
        await eventually(lambda: loop.pace.age_ns > 0, "the first step began")
        loop.submit("b")
        loop.engine.cancel(request("a").request_id)
        executor.release()
        await loop.idle()
    assert {delta.request_id for delta in loop.deltas} == {"b"}


async def test_whoever_repeats_a_plan_sees_that_there_is_work_since_it_was_made() -> None:
    executor = CountingExecutor()
    executor.hold()
    loop = Loop(executor)
    async with loop.turning():
        loop.submit("a")
        await eventually(lambda: loop.pace.age_ns > 0, "the first step began")
        assert not loop.work.is_set(), "what the plan knows of"
        loop.submit("b")
        assert loop.work.is_set(), "what it does not"
        executor.release()
        await loop.idle()
    assert {delta.request_id for delta in loop.deltas} == {"a", "b"}


async def test_steps_run_in_one_thread_of_their_own() -> None:
    threads: list[int] = []

    class Runner:
        def run(self, plan: StepPlan) -> StepOutcome:
            threads.append(threading.get_ident())
            return counted(plan)

        def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]:
            threads.append(threading.get_ident())
            return ()

        def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
            threads.append(threading.get_ident())

    executor = ThreadExecutor(Runner())
    loop = Loop(executor)
    async with loop.turning():
        loop.submit("a")
        await loop.idle()
    nothing = StepPlan(copies=(), rows=())
    await asyncio.gather(*(executor.execute(nothing) for _ in range(20)))
    await executor.read_blocks(())
    await executor.write_blocks((), ())
    assert len(threads) == 5 + 20 + 2
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


async def test_stop_ends_it_between_two_steps() -> None:
    executor = CountingExecutor()
    executor.hold()
    loop = Loop(executor)
    async with loop.turning() as task:
        loop.submit("a")
        await eventually(lambda: loop.pace.age_ns > 0, "the first step began")
        loop.stepper.stop()
        executor.release()
        await asyncio.wait_for(task, WITHIN_S)
    assert len(loop.deltas) == 1
    loop.engine.check()


async def test_an_executor_that_fails_ends_it_with_its_exception() -> None:
    executor = CountingExecutor()
    executor.failure = RuntimeError("out of memory")
    loop = Loop(executor)
    async with loop.turning() as task:
        loop.submit("a")
        with pytest.raises(RuntimeError, match="out of memory"):
            await asyncio.wait_for(task, WITHIN_S)


async def test_a_failed_check_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed_check(_engine: Engine) -> None:
        raise AssertionError("block 3 is in no list")

    monkeypatch.setattr(Engine, "check", failed_check)
    loop = Loop(CountingExecutor())
    async with loop.turning() as task:
        with pytest.raises(AssertionError, match="block 3"):
            await asyncio.wait_for(task, WITHIN_S)


async def test_a_job_runs_between_two_steps_and_no_plan_is_in_flight() -> None:
    executor = CountingExecutor()
    executor.hold()
    loop = Loop(executor)
    steps_then: list[int] = []

    async def job() -> str:
        loop.engine.check()
        before = len(loop.deltas)
        await asyncio.sleep(0)
        assert loop.engine.schedule() is not None, "one in flight would be an assertion"
        steps_then.append(before)
        raise ZeroDivisionError("its own fault")

    async with loop.turning():
        loop.submit("a")
        await eventually(lambda: loop.pace.age_ns > 0, "the first step began")
        asked = asyncio.create_task(loop.stepper.at_boundary(job))
        await asyncio.sleep(0)
        assert not steps_then
        executor.release()
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(asked, WITHIN_S)
        assert steps_then == [1]


async def test_jobs_run_in_order_also_when_there_is_nothing_to_step() -> None:
    loop = Loop(CountingExecutor())
    began: list[int] = []

    async def job(number: int) -> int:
        assert loop.pace.age_ns >= 0
        began.append(number)
        await asyncio.sleep(0)
        assert began[-1] == number, "two at once"
        return number

    async with loop.turning():
        numbers = range(3 * JOBS_MAX)
        asked = [loop.stepper.at_boundary(partial(job, number)) for number in numbers]
        assert await asyncio.wait_for(asyncio.gather(*asked), WITHIN_S) == list(numbers)
        assert began == list(numbers)
        loop.submit("a")
        await loop.idle()
    assert len(loop.deltas) == 5


async def test_one_job_after_another_holds_no_step_up() -> None:
    loop = Loop(CountingExecutor())
    tokens: list[int] = []

    async def job() -> None:
        tokens.append(len(loop.deltas))

    async with loop.turning():
        loop.submit("a")
        for _ in range(4):
            await loop.stepper.at_boundary(job)
        await loop.idle()
    assert tokens == list(range(tokens[0], tokens[0] + 4)), "a step between two of them"


async def test_a_job_whose_caller_left_is_not_run_and_holds_nothing_up() -> None:
    executor = CountingExecutor()
    executor.hold()
    loop = Loop(executor)
    begun = asyncio.Event()

    async def never() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with loop.turning():
        loop.submit("a")
        await eventually(lambda: loop.pace.age_ns > 0, "the first step began")
        waiting = asyncio.create_task(loop.stepper.at_boundary(never))
        await asyncio.sleep(0)
        waiting.cancel()
        running = asyncio.create_task(loop.stepper.at_boundary(never))
        executor.release()
        await asyncio.wait_for(begun.wait(), WITHIN_S)
        running.cancel()
        await loop.idle()
    assert len(loop.deltas) == 5


async def test_after_the_end_there_is_no_boundary() -> None:
    executor = CountingExecutor()
    executor.hold()
    loop = Loop(executor)

    async def job() -> None:
        raise AssertionError("too late")

    async with loop.turning() as task:
        loop.submit("a")
        await eventually(lambda: loop.pace.age_ns > 0, "the first step began")
        asked = [asyncio.create_task(loop.stepper.at_boundary(job)) for _ in range(JOBS_MAX + 2)]
        await asyncio.sleep(0)
        loop.stepper.stop()
        executor.release()
        await asyncio.wait_for(task, WITHIN_S)
        for each in asked:
            with pytest.raises(SteppingEnded):
                await asyncio.wait_for(each, WITHIN_S)
        with pytest.raises(SteppingEnded):
            await loop.stepper.at_boundary(job)


class SlowModel(CountingExecutor):
    """Each step takes two seconds, one and a half of them in the model."""

    async def execute(self, plan: StepPlan) -> StepOutcome:
        await asyncio.sleep(2)
        return replace(counted(plan), forward_ns=1_500_000_000)


async def _two_sequences_step_by_step() -> StepTotals:
    loop = Loop(SlowModel())
    async with loop.turning():
        loop.submit("a")
        loop.submit("b")
        await loop.stepper.idle()
    return loop.pace.totals


def test_a_steps_time_goes_where_it_is_spent() -> None:
    """In virtual time, in which deciding and telling take none."""
    totals = run(_two_sequences_step_by_step())
    assert totals == StepTotals(rows=10, execute_ns=10_000_000_000, forward_ns=7_500_000_000)


async def _slow_telling() -> StepTotals:
    loop = Loop(CountingExecutor())
    pace = loop.pace
    pace.enter(Phase.SCHEDULE)
    await asyncio.sleep(1)
    pace.enter(Phase.APPLY)
    await asyncio.sleep(3)
    pace.enter(None)
    await asyncio.sleep(5)
    pace.enter(Phase.SCHEDULE)
    return pace.totals


def test_time_between_two_steps_is_of_no_phase() -> None:
    assert run(_slow_telling()) == StepTotals(schedule_ns=1_000_000_000, apply_ns=3_000_000_000)
