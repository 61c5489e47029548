"""Reading on while what was read is dealt with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ReadAhead(Generic[Item]):
    """Items of a generator, read by a task of its own, at most `items_max` ahead."""

    def __init__(self, items: AsyncGenerator[Item, None], items_max: int) -> None:
        self._items = items
        self._items_max = items_max
        self._read: list[Item] = []
        self._is_over = False
        self._has_news = asyncio.Event()  # something was read, or it is over
        self._has_room = asyncio.Event()
        self._reading = asyncio.create_task(self._read_all())

    async def take(self) -> list[Item]:
        """All that has been read, in order; waits for the first. Empty after the last one.

        Raises what the generator raised, once all before it has been taken.
        """
        await self._has_news.wait()
        taken, self._read = self._read, []
        self._has_room.set()
        if not self._is_over:
            self._has_news.clear()
        if not taken:
            await self._reading
        return taken

    async def close(self) -> None:
        """Read no further. Idempotent."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._items.aclose()

    async def _read_all(self) -> None:
        try:
            async for item in self._items:
                self._read.append(item)
                self._has_news.set()
                while len(self._read) >= self._items_max:
                    self._has_room.clear()
                    await self._has_room.wait()
        finally:
            self._is_over = True
            self._has_news.set()
