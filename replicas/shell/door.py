"""Whether new work comes in: the replica's standing, and whether it is warm.

The standing is what an operator or the control plane decided; a replica that
still fetches its first blocks is open by its standing and takes no work yet.
Both show in snapshots and in the registry as draining, which is all that
gateways look at. Whoever stops has closed the door for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from protos.messages import Standing
from replicas.engine.engine import Engine


class Door:
    """Opens and closes one engine. `tell` is awaited after every change, to tell everybody."""

    def __init__(
        self,
        engine: Engine,
        work: asyncio.Event,
        tell: Callable[[], Awaitable[None]],
        *,
        is_warm: bool,
    ) -> None:
        self._engine = engine
        self._work = work
        self._tell = tell
        self._standing = Standing.OPEN
        self._is_warm = is_warm
        self._is_final = False
        self._set()

    @property
    def standing(self) -> Standing:
        return self._standing

    @property
    def is_open(self) -> bool:
        """Whether new work is taken."""
        return self._is_warm and self._standing is Standing.OPEN

    async def stand(self, standing: Standing) -> None:
        """From now on; what runs goes on. Idempotent, and ignored after `leave_for_good`."""
        if standing is not self._standing and not self._is_final:
            await self._change(standing)

    async def leave_for_good(self) -> None:
        """Nobody opens it any more."""
        self._is_final = True
        if self._standing is not Standing.LEAVING:
            await self._change(Standing.LEAVING)

    async def warmed(self) -> None:
        """It has what it waited for, or will not get it. Idempotent."""
        if not self._is_warm:
            self._is_warm = True
            await self._change(self._standing)

    async def _change(self, standing: Standing) -> None:
        self._standing = standing
        self._set()
        self._work.set()
        await self._tell()

    def _set(self) -> None:
        if self.is_open:
            self._engine.open()
        else:
            self._engine.drain()
