"""Several streams of deltas as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from protos.messages import Delta


async def merge(sources: Sequence[AsyncGenerator[Delta, None]]) -> AsyncGenerator[Delta, None]:
    """Deltas of all sources as they come, each source's in its order.

    Nothing is read ahead of the reader but one delta of each. The first error
    ends them all, and so does closing; a source runs in a task of its own.
    """
    reading = {asyncio.create_task(_next(source)): source for source in sources}
    try:
        while reading:
            await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            # In the order in which they were begun: the set of those done has none.
            for task in [task for task in reading if task.done()]:
                source = reading.pop(task)
                delta = task.result()
                if delta is not None:
                    reading[asyncio.create_task(_next(source))] = source
                    yield delta
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        for source in sources:
            await source.aclose()


async def _next(source: AsyncGenerator[Delta, None]) -> Delta | None:
    """The source's next delta; None at its end."""
    return await anext(source, None)
