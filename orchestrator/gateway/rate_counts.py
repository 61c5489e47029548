"""What every key has used, counted by all gateways together where that is possible.

Counters live in the cluster's Redis. When it does not answer, each gateway
counts by itself until it does: limits are then looser by the number of
gateways, and no request fails for want of a counter. How long one answer may
take is the shared storage's own bound.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.errors import StorageError

from orchestrator.control.seams import Clock
from orchestrator.gateway.rate_window import MINUTE_S, Window

log = logging.getLogger(__name__)

PAUSE_NS = 2_000_000_000  # before a storage that failed is tried again
UNBOUNDED = 2**53  # as a limit: the largest number that Redis's Lua counts exactly

T = TypeVar("T")


class Counters(Protocol):
    """What the `limits` library's storages have for windows that slide."""

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool: ...

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]: ...


class RateCounts:
    """Counters by name. `shared` raises StorageError when it does not answer."""

    def __init__(self, clock: Clock, shared: Counters | None = None) -> None:
        self._clock = clock
        self._shared = shared
        self._own = MemoryStorage()
        self._again_ns = 0

    @property
    def are_shared(self) -> bool:
        """Whether all gateways count together, as far as was seen."""
        return self._shared is not None and self._clock.now_ns() >= self._again_ns

    async def window(self, name: str, limit: int) -> Window:
        """What was used of it."""
        key = _key(name, limit)
        return Window(*await self._ask(lambda of: of.get_sliding_window(key, MINUTE_S)))

    async def take(self, name: str, limit: int, amount: int) -> bool:
        """Use so much, if so much is left; counted and compared in one step."""
        key = _key(name, limit)
        return await self._ask(
            lambda of: of.acquire_sliding_window_entry(key, limit, MINUTE_S, amount)
        )

    async def charge(self, name: str, limit: int, amount: int) -> None:
        """Count what has been used, whether or not so much was left."""
        key = _key(name, limit)
        await self._ask(
            lambda of: of.acquire_sliding_window_entry(key, UNBOUNDED, MINUTE_S, amount)
        )

    async def _ask(self, question: Callable[[Counters], Awaitable[T]]) -> T:
        if self._shared is not None and self.are_shared:
            try:
                return await question(self._shared)
            except StorageError as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # Redis's client has taken its caller's cancellation for its own timeout.
                    raise asyncio.CancelledError from error
                log.warning("rate limits are counted by this gateway alone: %s", error)
                self._again_ns = self._clock.now_ns() + PAUSE_NS
        return await question(self._own)


def _key(name: str, limit: int) -> str:
    return RateLimitItemPerMinute(limit).key_for(name)
