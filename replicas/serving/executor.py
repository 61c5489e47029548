"""The live executor: a synchronous runner in one thread of its own.

A step takes milliseconds; run on the event loop, it would hold up every token
on its way out and every submission on its way in. One thread, not several:
steps are ordered, copies in and out of blocks stand in the same order, and a
model's state belongs to one thread at a time. The thread ends with the
executor object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from replicas.engine.plan import BlockId, StepOutcome, StepPlan


class Runner(Protocol):
    """What runs in the thread: `Executor` without the waiting. Live: the torch runner."""

    def run(self, plan: StepPlan) -> StepOutcome: ...

    def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]: ...

    def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None: ...


class ThreadExecutor:
    """An `Executor` over a runner, which is only ever called from the same thread."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="steps")

    async def execute(self, plan: StepPlan) -> StepOutcome:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._runner.run, plan
        )

    async def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._runner.read_blocks, blocks
        )

    async def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
        await asyncio.get_running_loop().run_in_executor(
            self._thread, self._runner.write_blocks, blocks, payloads
        )
