"""Several sources of deltas as one, new ones included, and what closing it leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.gateway.merge import Branch, Source, merge
from protos.messages import Delta, RequestId, SampledToken
from tests.unit.dispatch.virtual_time import run


def delta(choice: int, index: int = 0) -> Delta:
    return Delta(RequestId("r"), choice, index, (SampledToken(index),))


class Sources:
    """Makes sources and knows which of them are still open."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.read = 0

    async def source(self, number: int, items: Sequence[Delta | Branch | float]) -> Source:
        """A number is a wait of so many seconds."""
        self.open.add(number)
        try:
            for item in items:
                if isinstance(item, float):
                    await asyncio.sleep(item)
                else:
                    self.read += 1
                    yield item
        finally:
            self.open.remove(number)


def test_a_branch_is_read_beside_the_source_that_led_to_it() -> None:
    async def scenario() -> None:
        made = Sources()
        late = made.source(2, [delta(2)])
        branch = made.source(1, [delta(1), Branch(late), 5.0, delta(1, 1)])
        first = made.source(0, [delta(0), Branch(branch), 1.0, delta(0, 1)])
        found = [(item.choice, item.first_index) async for item in merge(first)]
        assert found == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1)]
        assert made.open == set()

    run(scenario())


def test_nothing_at_all_ends_at_once() -> None:
    async def scenario() -> None:
        assert [item async for item in merge()] == []

    run(scenario())


@pytest.mark.parametrize("count", [1, 3])
def test_nobody_is_read_further_ahead_than_by_one(count: int) -> None:
    async def scenario() -> None:
        made = Sources()
        items = [delta(0, index) for index in range(10)]
        merged = merge(*(made.source(number, items) for number in range(count)))
        await anext(merged)
        await asyncio.sleep(1)
        assert made.read <= 2 * count
        await merged.aclose()

    run(scenario())


@pytest.mark.parametrize("count", [1, 3])
def test_closing_ends_every_source_however_long_it_would_wait(count: int) -> None:
    async def scenario() -> None:
        made = Sources()
        sources = [made.source(number, [delta(number), 1e9]) for number in range(count)]
        merged = merge(*sources)
        for _ in range(count):
            await anext(merged)
        await asyncio.sleep(1)
        await merged.aclose()
        assert made.open == set()
        assert asyncio.get_running_loop().time() < 2

    run(scenario())


def test_the_first_error_ends_them_all() -> None:
    async def failing() -> Source:
        yield delta(9)
        raise LookupError

    async def scenario() -> None:
        made = Sources()
        merged = merge(made.source(0, [delta(0), 1e9]), failing())
        with pytest.raises(LookupError):
            async for _ in merged:
                pass
        assert made.open == set()

    run(scenario())


@pytest.mark.parametrize("count", [1, 2])
def test_a_reader_that_is_cancelled_ends_every_source(count: int) -> None:
    async def scenario() -> None:
        made = Sources()
        sources = [made.source(number, [1e9]) for number in range(count)]

        async def read() -> None:
            async for _ in merge(*sources):
                pass

        reading = asyncio.create_task(read())
        await asyncio.sleep(1)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert made.open == set()

    run(scenario())
