"""What has arrived for one request and was not read yet.

The link puts, the request's stream takes. An inbox is bounded: one whose
reader is slower than the replica for long enough overflows, which ends this
request and no other. What had arrived before the end is still handed out.
"""

from __future__ import annotations

import asyncio
from collections import deque

from orchestrator.control.seams import LossReason, ReplicaLost
from protos.messages import Delta


class Inbox:
    """Deltas in order, then the reason why no more come."""

    def __init__(self, deltas_max: int) -> None:
        self._deltas: deque[Delta] = deque()
        self._deltas_max = deltas_max
        self._end: Exception | None = None
        self._arrived = asyncio.Event()

    def put(self, delta: Delta) -> None:
        """Add what came; nothing is added after the end."""
        if self._end is not None:
            return
        if len(self._deltas) >= self._deltas_max:
            self.end(ReplicaLost(LossReason.SLOW_READER))
            return
        self._deltas.append(delta)
        self._arrived.set()

    def end(self, reason: Exception) -> None:
        """Nothing follows, because of `reason`. The first reason stands."""
        self._end = self._end or reason
        self._arrived.set()

    async def take(self) -> Delta:
        """The next delta; raises the end's reason once all are taken."""
        while not self._deltas:
            if self._end is not None:
                raise self._end
            self._arrived.clear()
            await self._arrived.wait()
        return self._deltas.popleft()
