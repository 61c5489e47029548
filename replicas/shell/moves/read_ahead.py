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
        self._read: asyncio.Queue[Item | None] = asyncio.Queue(items_max)  # None: the end
        self._is_over = False
        self._reading = asyncio.create_task(self._read_all())

    async def take(self) -> list[Item]:
        """All that has been read, in order; waits for the first. Empty after the last one.

        Raises what the generator raised, once all before it has been taken.
        """
        taken: list[Item] = []
        while not self._is_over and not (taken and self._read.empty()):
            item = await self._read.get()
            if item is None:
                self._is_over = True
            else:
                taken.append(item)
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
                await self._read.put(item)
        finally:
            await self._read.put(None)
