"""Writes to a client, and the moment when it reads no more.

A client that stays connected but reads nothing shows only in a write that
does not return: buffers fill, and flow control holds the writer for as long
as the client likes. Its request holds a replica's blocks meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeAlias, TypeVar

# A client that reads nothing for so long has gone, whatever its connection says.
STALL_S = 60.0

Message = TypeVar("Message")
Write: TypeAlias = Callable[[Message], Awaitable[None]]


class ClientStalled(Exception):
    """The client reads no more."""


class Writer(Generic[Message]):
    """Passes messages on, one at a time."""

    def __init__(self, write: Write[Message]) -> None:
        self._write = write
        self._begun = 0
        self._done = 0

    async def write(self, message: Message, *, by: Write[Message] | None = None) -> None:
        """Returns when there is room for more. `by`: another way than usual, for this one."""
        self._begun += 1
        await (by or self._write)(message)
        self._done += 1

    @asynccontextmanager
    async def while_read(self) -> AsyncIterator[None]:
        """Cancels what is within when a write stalls, and raises ClientStalled."""
        patience = asyncio.timeout(None)

        def end(stalled: asyncio.Task[None]) -> None:
            if not stalled.cancelled():
                patience.reschedule(0)

        watching = asyncio.create_task(self.stalled())
        watching.add_done_callback(end)
        try:
            async with patience:
                yield
        except TimeoutError:
            if patience.expired():
                raise ClientStalled from None
            raise
        finally:
            watching.cancel()

    async def stalled(self) -> None:
        """Ends when one write has lasted for STALL_S. Cheaper than a timer for every write."""
        pending = None
        while pending is None or pending != self._pending():
            pending = self._pending()
            await asyncio.sleep(STALL_S)

    def _pending(self) -> int | None:
        """The number of the write that has not returned."""
        return self._begun if self._begun > self._done else None
