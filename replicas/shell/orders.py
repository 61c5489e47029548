"""What the control plane orders, and whether it is (still) its place to do so.

An order names the epoch of the replica that it is meant for and the term of
the leader that gave it. Whoever has heard of a later leader does not listen to
an earlier one, on whatever stream its word comes. Every order may arrive twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from protos.messages import Standing
from protos.moves import MoveOrder, MoveReport, Peer
from replicas.shell.door import Door
from replicas.shell.warmup import Warmup

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WarmOrder:
    """Begin with what the first of these that answers holds."""

    peers: tuple[Peer, ...]


Order = Standing | MoveOrder | WarmOrder


class Moves(Protocol):
    """Who carries out moves, and how they ended."""

    def order(self, order: MoveOrder) -> None: ...

    @property
    def ended_count(self) -> int: ...

    def reports(self, since: int) -> tuple[MoveReport, ...]:
        """Of those that ended after the first `since`, as far as they are remembered."""
        ...


class Orders:
    """Obeys the latest leader. `epoch` answers the replica's own."""

    def __init__(
        self, door: Door, moves: Moves, warmup: Warmup, *, epoch: Callable[[], int]
    ) -> None:
        self._door = door
        self._moves = moves
        self._warmup = warmup
        self._epoch = epoch
        self._term = 0  # the greatest one heard of

    def nobody_leads(self) -> None:
        """There is no control plane now: what only it can order is not waited for."""
        self._warmup.order(())

    async def obey(self, order: Order, *, epoch: int, term: int) -> None:
        """Carry it out, or see to it that it is; ignored with a line in the log if it is stale."""
        if epoch != self._epoch():
            logger.warning("ignored an order for epoch %d in %d: %s", epoch, self._epoch(), order)
            return
        if term < self._term:
            logger.warning("ignored an order of term %d in %d: %s", term, self._term, order)
            return
        self._term = term
        match order:
            case Standing():
                logger.info("standing %s by order of term %d", order.value, term)
                await self._door.stand(order)
            case MoveOrder():
                self._moves.order(order)
            case WarmOrder(peers):
                self._warmup.order(peers)
