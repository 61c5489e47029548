"""What has arrived for one submission or adoption and was not read yet.

The link puts, the stream takes. An inbox is bounded: one whose reader is
slower than the replica for long enough overflows, which ends this request and
no other. What had arrived before the end is still handed out.
"""

from __future__ import annotations

import asyncio
from collections import deque

from orchestrator.control.seams import LossReason, ReplicaLost
from protos.messages import Delta, Handoff


class Inbox:
    """Deltas and handoffs in order, then the reason why no more come."""

    def __init__(self, deltas_max: int) -> None:
        self._arrivals: deque[Delta | Handoff] = deque()
        self._deltas_max = deltas_max
        self._end: Exception | None = None
        self._reader: asyncio.Future[None] | None = None  # it waits for news

    def put(self, event: Delta | Handoff) -> None:
        """Add what came; nothing is added after the end."""
        if self._end is not None:
            return
        if len(self._arrivals) >= self._deltas_max:
            self.end(ReplicaLost(LossReason.SLOW_READER))
            return
        self._arrivals.append(event)
        self._wake()

    def end(self, reason: Exception) -> None:
        """Nothing follows, because of `reason`. The first reason stands."""
        self._end = self._end or reason
        self._wake()

    async def take(self) -> Delta | Handoff:
        """The next one; raises the end's reason once all are taken. One reader at a time."""
        while not self._arrivals:
            if self._end is not None:
                raise self._end
            # An Event would do, at three times the cost; this waits for every token.
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._arrivals.popleft()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)
