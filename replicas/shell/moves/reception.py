"""One move in, carried out: the effects of `Inbound` on an engine and a channel.

One message is dealt with before the next one is read, so a source that sends
faster than blocks are written here is held up by the channel itself. Room that
was made is given back unless the sequence was admitted, however the move ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from dataclasses import replace

from protos.messages import Refusal, Request, RequestId
from protos.moves import DeclineReason, ToSource
from replicas.engine.arrival import Arrival
from replicas.shell.moves.channel import PeerLost, TargetEnd
from replicas.shell.moves.effects import (
    Admit,
    Admitted,
    Answer,
    Drop,
    Expired,
    Failed,
    InboundEffect,
    InboundEvent,
    Lost,
    MakeRoom,
    Recall,
    Room,
    Write,
    Wrote,
)
from replicas.shell.moves.home import Home
from replicas.shell.moves.inbound import Host, Inbound
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.stepper import SteppingEnded


class Reception:
    """Takes in what one channel brings. Runs once, then listens once."""

    def __init__(self, home: Home, *, is_busy: bool, limits: MoveLimits) -> None:
        self._home = home
        self._silence_s = limits.silence_ms_max / 1000
        self._inner: RequestId | None = None  # its name in the engine
        self._request: Request | None = None  # as its client knows it
        self._arrival: Arrival | None = None
        self._machine = Inbound(
            Host(home.card, home.epoch(), is_open=not home.engine.draining, is_busy=is_busy)
        )

    async def run(self, channel: TargetEnd) -> None:
        """Until the sequence runs here, or will not come."""
        try:
            while self._machine.is_arriving:
                await self._hear(channel)
        finally:
            self._drop()

    async def listen(self, channel: TargetEnd) -> None:
        """Until the source ends the channel, is silent for too long, or takes its word back."""
        while not self._machine.is_over:
            await self._hear(channel)

    async def _hear(self, channel: TargetEnd) -> None:
        event = await self._in_time(channel.receive())
        assert event is not None, "every wait has an answer"
        await self._carry_out(event, channel)

    async def _carry_out(self, event: InboundEvent, channel: TargetEnd) -> None:
        """Do what follows from the event; an answer replaces what was still to be done."""
        left = deque(self._machine.handle(event))
        while left:
            answer = await self._do(left.popleft(), channel)
            if answer is not None:
                left = deque(self._machine.handle(answer))

    async def _do(self, effect: InboundEffect, channel: TargetEnd) -> InboundEvent | None:
        match effect:
            case Answer(message):
                return await self._in_time(self._answer(message, channel))
            case MakeRoom(request):
                return await self._in_time(self._make_room(request))
            case Write():
                return await self._in_time(self._write(effect))
            case Admit():
                return self._admit(effect)
            case Drop():
                self._drop()
            case Recall():
                assert self._inner is not None, "nothing was admitted"
                self._home.links.recall(self._inner)
        return None

    async def _in_time(self, wait: Awaitable[InboundEvent | None]) -> InboundEvent | None:
        try:
            async with asyncio.timeout(self._silence_s):
                return await wait
        except TimeoutError:
            return Expired()
        except PeerLost as lost:
            return Lost(str(lost))
        except SteppingEnded:
            return Failed(DeclineReason.NOT_OPEN, "this replica stops")

    async def _answer(self, message: ToSource, channel: TargetEnd) -> None:
        await channel.send(message)

    async def _make_room(self, request: Request) -> InboundEvent:
        async def reserve() -> InboundEvent:
            inner = self._home.links.name(request.request_id)
            # All but the token that was sampled last; less while it prefills.
            computed = request.given_tokens - 1
            answer = self._home.engine.reserve(replace(request, request_id=inner), computed)
            if isinstance(answer, Refusal):
                return Failed(DeclineReason.REFUSED, answer.message)
            self._inner, self._request, self._arrival = inner, request, answer
            return Room(answer.held)

        return await self._home.at_boundary(reserve)

    async def _write(self, asked: Write) -> InboundEvent:
        async def write() -> InboundEvent:
            assert self._arrival is not None, "blocks before there is room"
            try:
                blocks = self._arrival.blocks(asked.first, asked.first + len(asked.payloads))
                if blocks is None:
                    return _no_room()
                await self._home.executor.write_blocks(blocks, asked.payloads)
            except ValueError as error:
                return Failed(DeclineReason.BROKEN, str(error))
            return Wrote()

        return await self._home.at_boundary(write)

    def _admit(self, asked: Admit) -> InboundEvent:
        assert self._inner is not None and self._request is not None, "nothing was reserved"
        assert self._arrival is not None, "nothing was reserved"
        output = tuple(sampled.token for sampled in asked.said)
        try:
            if not self._arrival.admit(output, asked.computed):
                return _no_room()
        except ValueError as error:
            return Failed(DeclineReason.BROKEN, str(error))
        request = replace(self._request, output=output)
        self._home.links.receive(self._inner, request, asked.said)
        return Admitted()

    def _drop(self) -> None:
        if self._arrival is not None:
            self._arrival.drop()
            self._home.work.set()  # others may have waited for the room


def _no_room() -> Failed:
    return Failed(DeclineReason.NO_ROOM, "sequences of this replica need the blocks")
