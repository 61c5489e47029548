"""The loop that turns: schedule, execute, apply, tell.

One task owns the stepping of the engine. While a step computes in its thread,
the event loop goes on: submissions and cancellations reach the engine between
`schedule` and `apply`, which the engine allows. Without work the loop sleeps
until the `work` event, which everyone sets who gave the engine something to
do.

An exception, the executor's or the engine's own assertion, ends the loop and
is raised from `run`: after it nothing that this engine says can be trusted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from protos.messages import BlockEvent, Delta
from replicas.engine.engine import Engine
from replicas.engine.executor import Executor
from replicas.engine.plan import StepPlan
from replicas.shell.clock import now_ns
from replicas.shell.pace import Pace

Deliver = Callable[[tuple[Delta, ...]], None]
Publish = Callable[[tuple[BlockEvent, ...]], None]


class Stepper:
    """Steps the engine as long as there is work."""

    def __init__(
        self,
        engine: Engine,
        executor: Executor,
        pace: Pace,
        work: asyncio.Event,
        *,
        deliver: Deliver,
        publish: Publish,
        check_interval_ms: int,
    ) -> None:
        self._engine = engine
        self._executor = executor
        self._pace = pace
        self._work = work
        self._deliver = deliver
        self._publish = publish
        self._check_interval_ns = check_interval_ms * 1_000_000
        self._checked_ns: int | None = None
        self._idle = asyncio.Event()
        self._is_stopping = False

    async def run(self) -> None:
        """Step until `stop`; between two steps, never inside one."""
        while not self._is_stopping:
            plan = self._engine.schedule()
            self._publish(self._engine.block_events())
            if plan is None:
                await self._rest()
            else:
                await self._step(plan)

    def stop(self) -> None:
        self._is_stopping = True
        self._work.set()

    async def idle(self) -> None:
        """Returns when the engine has nothing left to do."""
        while not self._engine.is_idle:
            self._idle.clear()
            await self._idle.wait()

    async def _step(self, plan: StepPlan) -> None:
        self._pace.begin()
        deltas = self._engine.apply(await self._executor.execute(plan))
        self._pace.end(plan)
        self._deliver(deltas)

    async def _rest(self) -> None:
        assert self._engine.is_idle, "work is left and nothing can be scheduled"
        self._idle.set()
        self._check_when_due()
        await self._work.wait()
        self._work.clear()

    def _check_when_due(self) -> None:
        """Walks all blocks, so not at every pause between two requests."""
        at_ns = now_ns()
        if self._checked_ns is None or at_ns - self._checked_ns >= self._check_interval_ns:
            self._engine.check()
            self._checked_ns = at_ns
