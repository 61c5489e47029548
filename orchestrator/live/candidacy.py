"""Contends for the lead of the control plane, and says when it is won and lost.

A candidacy is one life of one process. It asks the registry again and again;
an answer that makes it the leader holds for one lease, counted from before
the question was sent, so that its belief ends no later than the registry's.
A timer ends the lead at that moment even while a question is under way: a
leader that cannot renew fences itself. Time stands in for nothing but that;
an order that is on its way while somebody else takes over is refused by its
term.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from uuid import uuid4

from protos.registry import ControlDirectory, RegistryUnavailable

log = logging.getLogger(__name__)


class Candidacy:
    """Calls `on_lead` with each term won, `on_follow` with each leader seen; None: nobody known.

    With a term come the knobs that the last leader kept: nobody leads before
    they are known. It starts out following nobody, and calls neither for that.
    """

    def __init__(
        self,
        directory: ControlDirectory,
        address: str,
        *,
        lease_s: float,
        renew_s: float,
        on_lead: Callable[[int, Mapping[str, str]], None],
        on_follow: Callable[[str | None], None],
    ) -> None:
        self._directory = directory
        self._address = address
        self._lease_s = lease_s
        self._renew_s = renew_s
        self._on_lead = on_lead
        self._on_follow = on_follow
        self._candidate = uuid4().hex
        self._term: int | None = None
        self._followed: str | None = None
        self._fence: asyncio.TimerHandle | None = None

    @property
    def leads(self) -> bool:
        return self._term is not None

    async def run(self) -> None:
        """Contend for ever."""
        task = asyncio.current_task()
        assert task is not None, "contends in a task"
        # The client of a server that times out may take a cancellation for that timeout.
        while not task.cancelling():
            await self.contend()
            await asyncio.sleep(self._renew_s)

    async def contend(self) -> None:
        """Ask once. Without an answer a leader stays one until its lease is over."""
        asked = asyncio.get_running_loop().time()
        try:
            term = await self._directory.lead(self._candidate, self._address)
            leader = await self._directory.leader() if term is None else None
            is_new = term is not None and term != self._term
            knobs = await self._directory.policy() if is_new else {}
        except RegistryUnavailable as error:
            log.warning("the registry does not say who leads the control plane: %s", error)
            return
        if term is not None:
            self._lead(term, knobs, until=asked + self._lease_s)
        else:
            self._follow(None if leader is None else leader.address)

    async def resign(self) -> None:
        """Stop leading, and let another one begin at once if the registry can be told."""
        self._follow(None)
        try:
            await self._directory.resign(self._candidate)
        except RegistryUnavailable as error:
            log.warning("the lead of the control plane is free only after its lease: %s", error)

    def _lead(self, term: int, knobs: Mapping[str, str], *, until: float) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= until:
            return  # the answer took a whole lease: it says nothing about now
        self._drop_fence()
        self._fence = loop.call_at(until, self._stand_down)
        if term != self._term:
            log.info("leads the control plane in term %d", term)
            self._term = term
            self._on_lead(term, knobs)

    def _stand_down(self) -> None:
        log.warning("the lead of the control plane could not be renewed within its lease")
        self._follow(None)

    def _follow(self, address: str | None) -> None:
        self._drop_fence()
        if self._term is None and address == self._followed:
            return
        log.info("follows the control plane at %s", address or "an address yet unknown")
        self._term = None
        self._followed = address
        self._on_follow(address)

    def _drop_fence(self) -> None:
        if self._fence is not None:
            self._fence.cancel()
            self._fence = None
