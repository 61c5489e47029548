"""Reading on while what was read is dealt with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from replicas.shell.moves.read_ahead import ReadAhead
from tests.unit.shell.eventually import eventually


class Numbers:
    """Counts to `stop`, and notes how far it was read and whether it was closed."""

    def __init__(self, stop: int, failure: Exception | None = None) -> None:
        self.read = 0
        self.is_closed = False
        self._stop = stop
        self._failure = failure

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self._stop):
                self.read += 1
                yield number
            if self._failure is not None:
                raise self._failure
        finally:
            self.is_closed = True


async def test_all_that_was_read_is_taken_at_once_and_in_order() -> None:
    numbers = Numbers(10)
    ahead = ReadAhead(numbers.items(), 4)
    taken: list[int] = []
    await eventually(lambda: numbers.read == 4, "as many as may be")
    while items := await ahead.take():
        taken.extend(items)
    assert taken == list(range(10))
    assert await ahead.take() == []
    await ahead.close()
    assert numbers.is_closed


async def test_no_more_is_read_than_was_said() -> None:
    numbers = Numbers(10)
    ahead = ReadAhead(numbers.items(), 2)
    for _ in range(50):
        await asyncio.sleep(0)
    assert numbers.read == 2
    await ahead.close()
    assert numbers.is_closed


async def test_a_failure_comes_after_what_came_before_it() -> None:
    ahead = ReadAhead(Numbers(2, ValueError("broken")).items(), 4)
    assert await ahead.take() == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        await ahead.take()
    await ahead.close()
