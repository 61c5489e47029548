"""A new replica's first blocks: it fetches what most requests begin with, then opens.

The control plane names replicas that may have them. The wait for that is
bounded, and nobody is waited for where nobody leads: a cold replica serves,
too, only slower.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from protos.moves import Peer
from replicas.shell.door import Door

logger = logging.getLogger(__name__)

# Answers whether the peer gave what it had.
Pull = Callable[[Peer], Awaitable[bool]]


class Warmup:
    """Waits once, at the start, for an order; `run` ends when the door need not wait longer."""

    def __init__(self, door: Door, pull: Pull, *, warm_ms: int) -> None:
        self._door = door
        self._pull = pull
        self._warm_s = warm_ms / 1000
        self._peers: tuple[Peer, ...] = ()
        self._is_ordered = asyncio.Event()

    def order(self, peers: tuple[Peer, ...]) -> None:
        """Whom to ask; nobody: there is nothing to wait for. The first order counts."""
        if not self._is_ordered.is_set():
            self._peers = peers
            self._is_ordered.set()

    async def run(self) -> None:
        try:
            async with asyncio.timeout(self._warm_s):
                await self._is_ordered.wait()
                await self._ask()
        except TimeoutError:
            logger.warning("opened after %g s without having been warmed", self._warm_s)
        await self._door.warmed()

    async def _ask(self) -> None:
        for peer in self._peers:
            if await self._pull(peer):
                logger.info("warmed by replica %s", peer.replica_id)
                return
