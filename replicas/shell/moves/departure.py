"""One move out, carried out: the effects of `Outbound` on an engine and a channel.

One task does one thing after the other. After each wait it looks whether the
sequence is still there, so that a client that leaves, a sequence that finishes
or a preemption ends the move before anything else is believed. Every wait ends
at the deadline of the move, or at that of the frozen phase.

However it ends, also when it is cancelled, the engine has its export back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from dataclasses import replace

from protos.messages import Request
from protos.moves import MoveOrder, MoveOutcome, MoveReport, Peer, Reserve, ToTarget
from replicas.engine.export import Export, ExportState
from replicas.shell.clock import NS_PER_S, now_ns
from replicas.shell.moves.budget import ByteBudget
from replicas.shell.moves.channel import PeerLost, SourceEnd
from replicas.shell.moves.effects import (
    Copied,
    Copy,
    Expired,
    Freeze,
    Frozen,
    GiveAway,
    Gone,
    Keep,
    Lost,
    OutboundEffect,
    OutboundEvent,
    Tell,
)
from replicas.shell.moves.home import Home
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.moves.outbound import Outbound
from replicas.shell.stepper import SteppingEnded

NS_PER_MS = 1_000_000
# To say that a move is aborted; the end of the channel says it, too.
FAREWELL_NS = NS_PER_S // 10


class Departure:
    """Moves the sequence of one export to `target`. Runs once."""

    def __init__(
        self,
        home: Home,
        export: Export,
        order: MoveOrder,
        target: Peer,
        budget: ByteBudget,
        limits: MoveLimits,
    ) -> None:
        self._home = home
        self._export = export
        self._order = order
        self._target = target
        self._budget = budget
        self._began_ns = now_ns()
        self._deadline_ns = self._began_ns + order.deadline_ms * NS_PER_MS
        self._frozen_ns_max = limits.frozen_ms_max * NS_PER_MS
        self._frozen_at_ns: int | None = None
        client_id = home.links.client_id(order.sequence_id)
        self._request = request = replace(export.request(), request_id=client_id)
        reserve = Reserve(order.move_id, home.replica_id, target.epoch, home.card, request)
        self._machine = Outbound(reserve, computed=export.computed, limits=limits)

    @property
    def request(self) -> Request:
        """Of the sequence, as its client knows it, when the move began."""
        return self._request

    async def run(self, channel: SourceEnd) -> None:
        """Until the move has ended one way or the other."""
        machine = self._machine
        try:
            await self._carry_out(machine.open(), channel)
            while machine.outcome is None:
                event = await self._in_time(channel.receive())
                assert event is not None, "every wait has an answer"
                await self._carry_out(machine.handle(event), channel)
        finally:
            if machine.outcome is None:
                self._keep()

    def report(self) -> MoveReport:
        """How it ended, at its end."""
        machine, ended_ns = self._machine, now_ns()
        assert machine.outcome is not None, "a report of a move that goes on"
        request = self._request
        has_moved = machine.outcome is MoveOutcome.MOVED
        return MoveReport(
            self._order.move_id,
            self._order.sequence_id,
            machine.outcome,
            machine.detail,
            stages=machine.stages,
            blocks_sent=machine.blocks_sent,
            blocks_shared=machine.blocks_shared,
            bytes_sent=machine.bytes_sent,
            frozen_ns=0 if self._frozen_at_ns is None else ended_ns - self._frozen_at_ns,
            total_ns=ended_ns - self._began_ns,
            target=self._target.replica_id if has_moved else None,
            request_id=request.request_id if has_moved else None,
            choice=request.first_choice if has_moved else 0,
        )

    async def _carry_out(self, effects: tuple[OutboundEffect, ...], channel: SourceEnd) -> None:
        """Do what was asked for; an answer replaces what was still to be done."""
        left = deque(effects)
        while left:
            event = await self._do(left.popleft(), channel)
            if event is not None:
                left = deque(self._machine.handle(event))

    async def _do(self, effect: OutboundEffect, channel: SourceEnd) -> OutboundEvent | None:
        match effect:
            case Tell(message):
                return await self._in_time(self._tell(message, channel))
            case Copy():
                return await self._in_time(self._copy(effect))
            case Freeze():
                return await self._in_time(self._freeze(effect))
            case Keep():
                self._keep()
            case GiveAway():
                self._export.complete()
                self._home.links.give(self._order.sequence_id, self._target.replica_id)
        return None

    async def _in_time(self, wait: Awaitable[OutboundEvent | None]) -> OutboundEvent | None:
        """What was waited for, unless time is over, the peer lost or the sequence gone."""
        event: OutboundEvent | None
        try:
            async with asyncio.timeout_at(self._due_ns() / NS_PER_S):
                event = await wait
        except TimeoutError:
            event = Expired()
        except PeerLost as lost:
            event = Lost(str(lost))
        except SteppingEnded:
            event = Lost("this replica stops")
        return Gone() if self._export.state is ExportState.GONE else event

    def _due_ns(self) -> int:
        if self._machine.outcome is not None:
            return now_ns() + FAREWELL_NS
        if self._frozen_at_ns is not None:
            return min(self._deadline_ns, self._frozen_at_ns + self._frozen_ns_max)
        return self._deadline_ns

    async def _tell(self, message: ToTarget, channel: SourceEnd) -> None:
        await channel.send(message)

    async def _copy(self, asked: Copy) -> OutboundEvent:
        await self._budget.wait()

        async def read() -> OutboundEvent:
            if self._export.state is ExportState.GONE:
                return Gone()
            computed = self._export.computed
            blocks = self._export.blocks(asked.first, asked.stop)
            return Copied(await self._home.executor.read_blocks(blocks), computed)

        event = await self._home.at_boundary(read)
        if isinstance(event, Copied):
            self._budget.spend(sum(map(len, event.payloads)))
        return event

    async def _freeze(self, asked: Freeze) -> OutboundEvent:
        """A tail does not wait for the budget, and is not charged to it: it is a few blocks."""

        async def freeze() -> OutboundEvent:
            if self._export.state is ExportState.GONE:
                return Gone()
            computed = self._export.computed
            stop = -(-computed // self._home.card.block_size)
            if stop - asked.first > asked.blocks_max:
                return Copied((), computed)
            self._export.freeze()
            self._frozen_at_ns = now_ns()
            said = self._home.links.said(self._order.sequence_id)
            blocks = self._export.blocks(asked.first, max(asked.first, stop))
            return Frozen(await self._home.executor.read_blocks(blocks), computed, said)

        return await self._home.at_boundary(freeze)

    def _keep(self) -> None:
        """The sequence stays and goes on, if it is still here."""
        self._export.abandon()
        self._home.work.set()
