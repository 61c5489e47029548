"""Counters of the `limits` library on the cluster's Redis: what all gateways count together.

Under `<prefix>limits:`, so that a gateway's user, who may only read the
registry, needs to write nothing else: `~<prefix>limits:* +evalsha
+script|load +get +set +exists +pttl +rename +incrby`. A server that does not
answer in time, or does not allow it, shows as StorageError.
"""

from __future__ import annotations

from limits.aio.storage import RedisStorage

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis_pool import connection_pool

# Requests wait for it: what takes longer is not there. Beyond that gateways count alone.
ANSWER_MS = 250


class SharedCounters:
    """Windows that slide, by key. Does no I/O before the first question."""

    def __init__(self, url: str, prefix: str, *, answer_ms: int = ANSWER_MS) -> None:
        """ValueError if `url` is none."""
        config = RegistryConfig(prefix=prefix, operation_ms=answer_ms, connect_ms=answer_ms)
        self._pool = connection_pool(url, config)
        self._storage = RedisStorage(
            "async+redis://",  # the pool knows where
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=f"{prefix}limits",
            connection_pool=self._pool,  # type: ignore[arg-type]  # it does take one
        )

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count so much, if that stays within the limit."""
        return await self._storage.acquire_sliding_window_entry(key, limit, expiry, amount)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The counter of the window before, its seconds left, and the same of the current one."""
        return await self._storage.get_sliding_window(key, expiry)

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.aclose()
