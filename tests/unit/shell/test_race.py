"""The first to end decides; nobody runs on afterwards."""

from __future__ import annotations

import asyncio

import pytest

from replicas.shell.race import race
from tests.unit.shell.eventually import WITHIN_S


class Runner:
    """Waits to be let go, and knows whether it was ended."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.ended = False

    async def run(self, failure: Exception | None = None) -> None:
        try:
            await self.go.wait()
            if failure is not None:
                raise failure
        finally:
            self.ended = True


async def test_the_first_to_return_ends_the_others() -> None:
    first, second = Runner(), Runner()
    first.go.set()
    await asyncio.wait_for(race(second.run(), first.run()), WITHIN_S)
    assert second.ended


async def test_the_first_failure_is_raised() -> None:
    first, second = Runner(), Runner()
    first.go.set()
    with pytest.raises(ValueError, match="no"):
        await asyncio.wait_for(race(second.run(), first.run(ValueError("no"))), WITHIN_S)
    assert second.ended


async def test_of_two_that_end_at_once_the_first_named_counts() -> None:
    first, second = Runner(), Runner()
    first.go.set()
    second.go.set()
    with pytest.raises(ValueError, match="first"):
        await race(first.run(ValueError("first")), second.run(ValueError("second")))


async def test_a_cancelled_race_leaves_nobody_running() -> None:
    runner = Runner()
    task = asyncio.create_task(race(runner.run()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runner.ended
