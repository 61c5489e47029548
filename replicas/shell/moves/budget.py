"""How fast all moves out of a replica may copy, together."""

from __future__ import annotations

import asyncio

from replicas.shell.clock import NS_PER_S, now_ns


class ByteBudget:
    """So many bytes a second. Spent after the fact: each chunk pays for the wait of the next.

    As many chunks as there are moves may go out of one wait; the mean is kept.
    """

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._paid_ns = 0  # when all that was spent has been waited for

    async def wait(self) -> None:
        """Until what had been spent is paid for."""
        await asyncio.sleep(max(0, self._paid_ns - now_ns()) / NS_PER_S)

    def spend(self, spent_bytes: int) -> None:
        self._paid_ns = max(self._paid_ns, now_ns()) + spent_bytes * NS_PER_S // self._bytes_per_s
