"""A simulated replica's link to the control plane: reports out, orders in.

As the live one: it finds the leader by the registry, one stream is one epoch,
and without a leader it looks for one for ever. An order may arrive twice and
late: the network's and the leader's own repetitions are modelled at the other
end (control_plane.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.control.events import Report
from orchestrator.sim.network import Exchange, Unreachable
from protos.registry import ControlDirectory, RegistryUnavailable, ReplicaRecord
from replicas.shell.backoff import Backoff
from replicas.shell.door import Door
from replicas.shell.links import Links
from replicas.shell.moves.mover import Mover
from replicas.shell.orders import Order, Orders
from replicas.shell.race import race
from replicas.shell.reporter import Reporter
from replicas.shell.waiting import set_within

LOOK_MS = 1000
SEQUENCES_MAX = 256


@dataclass(frozen=True, slots=True)
class Attach:
    """A stream's first message."""

    record: ReplicaRecord
    report: Report


@dataclass(frozen=True, slots=True)
class Told:
    """An order, and by and for whom."""

    order: Order
    epoch: int
    term: int


ControlExchange = Exchange[Attach | Report, Told]
Send = Callable[[Attach | Report], None]


@dataclass(frozen=True, slots=True)
class Reported:
    """What a replica tells of itself."""

    reporter: Reporter
    door: Door
    links: Links
    mover: Mover

    def report(self, since: int) -> Report:
        """With the moves that ended after the first `since`."""
        return Report(
            self.reporter.snapshot(),
            self.door.standing,
            tuple(self.links.sequences(SEQUENCES_MAX)),
            self.mover.reports(since),
        )


class SimControlLink:
    """The replica's end."""

    def __init__(
        self,
        node: str,
        directory: ControlDirectory,
        exchange: ControlExchange,
        reported: Reported,
        orders: Orders,
        *,
        report_s: float,
    ) -> None:
        self._node = node
        self._directory = directory
        self._exchange = exchange
        self._reported = reported
        self._orders = orders
        self._report_s = report_s
        self._backoff = Backoff(LOOK_MS)
        self._report_now = asyncio.Event()

    def report(self) -> None:
        """Report at once, if a control plane listens."""
        self._report_now.set()

    async def run(self, record: ReplicaRecord) -> None:
        """Never returns; the control plane's absence is waited out."""
        while True:
            address = await self._leader_address()
            if address is None:
                self._orders.nobody_leads()
            else:
                await self._attach(address, record)
            await self._backoff.wait()

    async def _leader_address(self) -> str | None:
        try:
            leader = await self._directory.leader()
        except RegistryUnavailable:
            return None
        return leader.address if leader is not None else None

    async def _attach(self, address: str, record: ReplicaRecord) -> None:
        try:
            end = self._exchange.connect(self._node, address)
        except Unreachable:
            return
        orders: asyncio.Queue[Told | None] = asyncio.Queue()
        end.listen(orders.put_nowait, lambda: orders.put_nowait(None))
        self._backoff.reset()
        try:
            await race(
                self._obey(orders), self._tell(end.send, record), self._follow_directory(address)
            )
        finally:
            end.close()

    async def _obey(self, orders: asyncio.Queue[Told | None]) -> None:
        while (told := await orders.get()) is not None:
            await self._orders.obey(told.order, epoch=told.epoch, term=told.term)

    async def _tell(self, send: Send, record: ReplicaRecord) -> None:
        epoch = self._reported.reporter.epoch
        message: Attach | Report = Attach(record, self._reported.report(0))
        while self._reported.reporter.epoch == epoch:
            self._report_now.clear()
            told = self._reported.mover.ended_count
            send(message)
            await set_within(self._report_now, self._report_s)
            message = self._reported.report(told)

    async def _follow_directory(self, address: str) -> None:
        while True:
            await asyncio.sleep(LOOK_MS / 1000)
            if await self._leader_address() not in (None, address):
                return
