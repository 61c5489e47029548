"""Keeps the leader's knobs in the registry, so that the next leader has them, too.

What an operator turns works at once; it is kept a moment later. While the
registry cannot be reached it works for this leader only, and is kept as soon
as the registry is back, if this one still leads: a later leader is never
overwritten.
"""

from __future__ import annotations

import asyncio
import logging

from orchestrator.live.control_room import ControlRoom
from protos.registry import ControlDirectory, RegistryUnavailable

log = logging.getLogger(__name__)


class PolicyKeeper:
    """Writes what `room` says was turned, whenever it has changed."""

    def __init__(
        self, directory: ControlDirectory, room: ControlRoom, *, interval_s: float
    ) -> None:
        self._directory = directory
        self._room = room
        self._interval_s = interval_s
        self._kept: tuple[int, dict[str, str]] | None = None

    async def run(self) -> None:
        """Look again and again. Never returns."""
        task = asyncio.current_task()
        assert task is not None, "keeps in a task"
        # The client of a server that times out may take a cancellation for that timeout.
        while not task.cancelling():
            await self.keep()
            await asyncio.sleep(self._interval_s)

    async def keep(self) -> None:
        """Write once, if there is anything new."""
        turned = self._room.turned()
        if turned is None or turned == self._kept:
            return
        term, knobs = turned
        try:
            if await self._directory.keep_policy(term, knobs):
                self._kept = turned
        except RegistryUnavailable as error:
            log.warning("the knobs that were turned are not kept yet: %s", error)
