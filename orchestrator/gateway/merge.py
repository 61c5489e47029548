"""Several sources of deltas as one, while new ones may come up on the way.

A source that finds that some of its choices go on elsewhere yields a `Branch`,
and that is read beside it from then on. Nothing is read ahead of the reader
but one item of each source. The first error ends them all, and so does
closing. Beside others a source is read in a task of its own; alone, as nearly
always, it is read directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TypeAlias

from protos.messages import Delta

Source: TypeAlias = "AsyncGenerator[Delta | Branch, None]"


@dataclass(frozen=True, slots=True)
class Branch:
    """A source that was found by another one, not begun yet."""

    source: Source


async def merge(*sources: Source) -> AsyncGenerator[Delta, None]:
    """Deltas of all sources and their branches as they come, each source's in its order."""
    open_sources = dict.fromkeys(sources)
    idle = list(sources)
    reading: dict[asyncio.Task[Delta | Branch | None], Source] = {}
    try:
        while open_sources:
            if len(open_sources) == 1 and idle:
                (source,) = idle
                while isinstance(item := await anext(source, None), Delta):
                    yield item
                idle.clear()
                arrived: list[tuple[Source, Delta | Branch | None]] = [(source, item)]
            else:
                reading |= {asyncio.create_task(_next(source)): source for source in idle}
                idle.clear()
                await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
                # In the order in which they were begun: the set of those done has none.
                done = [task for task in reading if task.done()]
                arrived = [(reading[task], task.result()) for task in done]
                reading = {task: source for task, source in reading.items() if task not in done}
            for source, item in arrived:
                match item:
                    case None:
                        del open_sources[source]
                    case Branch(branch):
                        open_sources[branch] = None
                        idle += [source, branch]
                    case Delta():
                        idle.append(source)
                        yield item
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        for source in open_sources:
            await source.aclose()


async def _next(source: Source) -> Delta | Branch | None:
    """What the source has next; None at its end."""
    return await anext(source, None)
