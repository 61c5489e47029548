"""The loop that turns: give up, schedule, execute, apply, tell.

One task owns the stepping of the engine. While a step computes in its thread,
the event loop goes on: submissions and cancellations reach the engine between
`schedule` and `apply`, which the engine allows. Without work the loop sleeps
until the `work` event, which everyone sets who gave the engine something to
do. While a plan is computed, it says that somebody did so meanwhile: an
executor that repeats the plan then ends.

Between two steps no block is being read or written, and the loop has the
executor to itself: jobs that need that (to copy blocks, to freeze a sequence)
run there, in the order in which they came.

An exception, the executor's or the engine's own assertion, ends the loop and
is raised from `run`: after it nothing that this engine says can be trusted. A
job's exception is only its caller's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from protos.messages import BlockEvent, Delta
from replicas.engine.engine import Engine
from replicas.engine.executor import Executor
from replicas.engine.marks import Mark
from replicas.engine.plan import StepPlan
from replicas.shell.clock import now_ns
from replicas.shell.pace import Pace, Phase

GiveUp = Callable[[], None]
Begin = Callable[[tuple[Mark, ...]], None]
Deliver = Callable[[tuple[Delta, ...]], None]
Publish = Callable[[tuple[BlockEvent, ...]], None]
Answer = TypeVar("Answer")

# Jobs in the line of one boundary; whoever comes later waits for a place in it.
JOBS_MAX = 16


class SteppingEnded(Exception):
    """There will be no boundary any more."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """A job's place in the line."""

    may_begin: asyncio.Future[None]
    is_over: asyncio.Event


class Stepper:
    """Steps the engine as long as there is work."""

    def __init__(
        self,
        engine: Engine,
        executor: Executor,
        pace: Pace,
        work: asyncio.Event,
        *,
        give_up: GiveUp,
        begin: Begin,
        deliver: Deliver,
        publish: Publish,
        check_interval_ms: int,
    ) -> None:
        self._engine = engine
        self._executor = executor
        self._pace = pace
        self._work = work
        self._give_up = give_up
        self._begin = begin
        self._deliver = deliver
        self._publish = publish
        self._check_interval_ns = check_interval_ms * 1_000_000
        self._checked_ns: int | None = None
        self._idle = asyncio.Event()
        self._is_stopping = False
        self._has_ended = False
        self._turns: deque[_Turn] = deque()
        self._turns_left = asyncio.Semaphore(JOBS_MAX)

    async def run(self) -> None:
        """Step until `stop`; between two steps, never inside one."""
        try:
            while not self._is_stopping:
                self._work.clear()
                await self._give_turns()
                self._give_up()
                self._pace.enter(Phase.SCHEDULE)
                plan = self._engine.schedule()
                self._publish(self._engine.block_events())
                if plan is None:
                    self._pace.enter(None)
                    await self._rest()
                else:
                    await self._step(plan)
        finally:
            self._end_turns()

    def stop(self) -> None:
        self._is_stopping = True
        self._work.set()

    async def at_boundary(self, job: Callable[[], Awaitable[Answer]]) -> Answer:
        """Run the job between two steps, also when there is nothing to step.

        No plan is in flight and none is made before it ends. Raises what the
        job raises, and SteppingEnded when there is no such moment any more.
        """
        async with self._turns_left:
            if self._has_ended:
                raise SteppingEnded
            turn = _Turn(asyncio.get_running_loop().create_future(), asyncio.Event())
            self._turns.append(turn)
            self._work.set()
            try:
                await turn.may_begin
                return await job()
            finally:
                turn.is_over.set()

    async def idle(self) -> None:
        """Returns when the engine has nothing left to do."""
        while not self._engine.is_idle:
            self._idle.clear()
            await self._idle.wait()

    async def _give_turns(self) -> None:
        """To those in the line now: whoever comes meanwhile waits for the next boundary."""
        for _ in range(len(self._turns)):
            turn = self._turns.popleft()
            if not turn.may_begin.done():  # otherwise its caller has left
                turn.may_begin.set_result(None)
                self._pace.begin()
                await turn.is_over.wait()
                self._pace.forget()

    def _end_turns(self) -> None:
        self._has_ended = True
        for turn in self._turns:
            if not turn.may_begin.done():
                turn.may_begin.set_exception(SteppingEnded())

    async def _step(self, plan: StepPlan) -> None:
        self._pace.begin()
        if marks := self._engine.marks:
            self._begin(marks)
        self._pace.enter(Phase.EXECUTE)
        outcome = await self._executor.execute(plan)
        self._pace.enter(Phase.APPLY)
        deltas = self._engine.apply(outcome)
        self._pace.end(plan, outcome)
        self._deliver(deltas)
        self._pace.enter(None)

    async def _rest(self) -> None:
        if self._engine.is_idle:  # otherwise what is here is frozen, until somebody thaws it
            self._idle.set()
        self._check_when_due()
        await self._work.wait()

    def _check_when_due(self) -> None:
        """Walks all blocks, so not at every pause between two requests."""
        at_ns = now_ns()
        if self._checked_ns is None or at_ns - self._checked_ns >= self._check_interval_ns:
            self._engine.check()
            self._checked_ns = at_ns
