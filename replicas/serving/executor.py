"""The live executor: a synchronous runner in one thread of its own.

A step takes milliseconds; run on the event loop, it would hold up every token
on its way out and every submission on its way in. One thread, not several:
steps are ordered, and a model's state belongs to one thread at a time. The
thread ends with the executor object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from replicas.engine.plan import StepOutcome, StepPlan


class ThreadExecutor:
    """An `Executor` over `run`, which is only ever called from the same thread."""

    def __init__(self, run: Callable[[StepPlan], StepOutcome]) -> None:
        self._run = run
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="steps")

    async def execute(self, plan: StepPlan) -> StepOutcome:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, plan)
