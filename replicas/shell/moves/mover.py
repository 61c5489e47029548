"""All moves of one replica: those that were ordered, and those that arrive.

Bounded on both sides: an order beyond `moves_out_max` is reported as busy, a
source beyond `moves_in_max` is declined. An order that comes twice is obeyed
once. How the last ones ended is kept and numbered, so that every leader can be
told, and be told again.

`run` carries out the orders and is to be supervised like every other task of
a replica: an exception from it is a bug. Moves that arrive run in the tasks of
those who bring them. When either is cancelled, each sequence is where it was.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from itertools import islice

from protos.messages import SequenceId
from protos.moves import MoveId, MoveOrder, MoveOutcome, MoveReport
from replicas.shell.clock import now_ns
from replicas.shell.moves.budget import ByteBudget
from replicas.shell.moves.channel import Peers, TargetEnd
from replicas.shell.moves.departure import Departure
from replicas.shell.moves.home import Home
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.moves.reception import Reception
from replicas.shell.spans import migration_span
from replicas.shell.stepper import SteppingEnded


class Mover:
    """Moves sequences out of and into the replica `home`."""

    def __init__(self, home: Home, peers: Peers, limits: MoveLimits) -> None:
        self._home = home
        self._peers = peers
        self._limits = limits
        self._budget = ByteBudget(limits.bytes_per_s)
        self._orders: asyncio.Queue[MoveOrder] = asyncio.Queue(limits.moves_out_max)
        self._leaving: set[MoveId] = set()
        self._ended: OrderedDict[MoveId, None] = OrderedDict()  # oldest first
        self._arriving = 0
        self._reports: deque[MoveReport] = deque(maxlen=limits.reports_max)
        self._ended_count = 0

    async def run(self) -> None:
        """Carry out what is ordered. Never returns."""
        async with asyncio.TaskGroup() as moves:
            while True:
                order = await self._orders.get()
                moves.create_task(self._carry_out(order))

    def order(self, order: MoveOrder) -> None:
        """Move the sequence, or hand it back; how it ended is in a later report."""
        if order.move_id in self._leaving or order.move_id in self._ended:
            return
        if len(self._leaving) >= self._limits.moves_out_max:
            detail = f"{len(self._leaving)} moves go out already"
            self._end(MoveReport(order.move_id, order.sequence_id, MoveOutcome.BUSY, detail))
            return
        self._leaving.add(order.move_id)
        self._orders.put_nowait(order)

    async def receive(self, channel: TargetEnd) -> None:
        """Take in what arrives on one channel, until the source is done with it.

        The caller closes it. What has arrived is not counted any more.
        """
        is_busy = self._arriving >= self._limits.moves_in_max
        reception = Reception(self._home, is_busy=is_busy, limits=self._limits)
        self._arriving += 1
        try:
            await reception.run(channel)
        finally:
            self._arriving -= 1
        await reception.listen(channel)

    @property
    def under_way(self) -> int:
        """Moves that have begun and not ended, in and out."""
        return len(self._leaving) + self._arriving

    @property
    def ended_count(self) -> int:
        """Moves that have ended, counted from the start."""
        return self._ended_count

    def reports(self, since: int) -> tuple[MoveReport, ...]:
        """Those that ended after the first `since`, or as many as are kept; oldest first."""
        forgotten = self._ended_count - len(self._reports)
        return tuple(islice(self._reports, max(0, since - forgotten), None))

    async def _carry_out(self, order: MoveOrder) -> None:
        try:
            if order.target is None:
                report = await self._hand_back(order)
            else:
                report = await self._move(order)
            self._end(report)
        finally:
            self._leaving.discard(order.move_id)

    async def _move(self, order: MoveOrder) -> MoveReport:
        assert order.target is not None, "an order to hand back"
        named = self._home.links.of(order.sequence_id)
        export = self._home.engine.export(*named) if named is not None else None
        if export is None:
            return MoveReport(order.move_id, order.sequence_id, MoveOutcome.UNKNOWN)
        departure = Departure(self._home, export, order, order.target, self._budget, self._limits)
        channel = self._peers.migrate(order.target)
        try:
            await departure.run(channel)
        finally:
            await channel.close()
        report = departure.report()
        links = self._home.links
        links.export(migration_span(departure.request, self._home.replica_id, report, now_ns()))
        return report

    async def _hand_back(self, order: MoveOrder) -> MoveReport:
        """Between two steps, so that no outcome on its way is lost."""
        began_ns = now_ns()

        async def withdraw() -> MoveOutcome:
            named = self._home.links.of(order.sequence_id)
            taken = self._home.engine.withdraw(*named) if named is not None else None
            if taken is None or named is None:
                return MoveOutcome.UNKNOWN
            first, choices = taken
            sequence_id = SequenceId(f"{named[0]}/{first}")
            self._home.links.give(sequence_id, None, choices=choices)
            return MoveOutcome.HANDED_BACK

        try:
            outcome = await self._home.at_boundary(withdraw)
        except SteppingEnded:
            outcome = MoveOutcome.LATE
        total_ns = now_ns() - began_ns
        return MoveReport(order.move_id, order.sequence_id, outcome, total_ns=total_ns)

    def _end(self, report: MoveReport) -> None:
        self._reports.append(report)
        self._ended_count += 1
        self._ended[report.move_id] = None
        while len(self._ended) > self._limits.ended_max:
            self._ended.popitem(last=False)
