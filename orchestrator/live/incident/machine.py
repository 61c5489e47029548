"""The replay's machine that computes: the production executor, timed.

All four memory models drive it alike. A contiguous run is blocks in a row to
it, a pinned prefix is blocks that are copied, and nothing here knows which
memory model it serves.

Time is what this process computes: on one thread that is the wall clock of a
machine that has nothing else to do. Neighbours on a busy machine do not count,
who would otherwise slow one memory model down and not the other. A pause
without work is skipped, not slept through.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from replicas.engine.plan import StepOutcome, StepPlan
from replicas.serving.executor import Runner, ThreadExecutor


class LiveMachine:
    """Steps run one at a time in the executor's thread, and take what they take."""

    def __init__(self, runner: Runner) -> None:
        self._executor = ThreadExecutor(runner)
        self._loop = asyncio.new_event_loop()
        self._origin_ns = time.process_time_ns()

    def __enter__(self) -> LiveMachine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.close()

    def start(self) -> None:
        self._origin_ns = time.process_time_ns()

    def now_ns(self) -> int:
        return time.process_time_ns() - self._origin_ns

    def wait_until(self, at_ns: int) -> None:
        self._origin_ns -= max(0, at_ns - self.now_ns())

    def compute(self, plan: StepPlan) -> StepOutcome:
        return self._loop.run_until_complete(self._executor.execute(plan))
