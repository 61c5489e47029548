"""The source's hands: what they notice at the very moment at which they act."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from protos.messages import RequestId
from protos.moves import Committed, MoveId, MoveOrder, MoveOutcome, ToSource, ToTarget
from replicas.engine.export import Export
from replicas.shell.moves.budget import ByteBudget
from replicas.shell.moves.channel import SourceEnd
from replicas.shell.moves.departure import Departure
from replicas.shell.moves.home import Home
from tests.unit.moves.pair import LIMITS, End, ends
from tests.unit.moves.test_downtime import Watched, read
from tests.unit.shell.counting import CARD, request
from tests.unit.shell.desk import unread
from tests.unit.shell.eventually import eventually

NAME = RequestId("r")
Answer = TypeVar("Answer")


async def decoding(end: End) -> Export:
    """The sequence that runs there, once it decodes."""
    sequence_id = await end.sequence()
    await eventually(lambda: len(end.links.said(sequence_id)) > 0, "it decodes")
    named = end.links.of(sequence_id)
    assert named is not None
    export = end.engine.export(*named)
    assert export is not None
    return export


async def departure(export: Export, home: Home, end: End, target: End) -> Departure:
    order = MoveOrder(MoveId("m"), await end.sequence(), target.peer, 20_000)
    return Departure(home, export, order, target.peer, ByteBudget(LIMITS.bytes_per_s), LIMITS)


@dataclass
class Interrupted:
    """A channel on which something happens before an answer is read."""

    channel: SourceEnd
    before: type[ToSource]
    happens: Callable[[], None]

    async def send(self, message: ToTarget) -> None:
        await self.channel.send(message)

    async def receive(self) -> ToSource:
        message = await self.channel.receive()
        if isinstance(message, self.before):
            self.happens()
        return message

    async def close(self) -> None:
        await self.channel.close()


async def test_a_sequence_that_is_cancelled_as_its_arrival_is_confirmed_is_not_given_away() -> None:
    async with ends("a", "b") as [a, b]:
        a.submit(request(NAME, prompt_tokens=80, tokens_max=3000))
        leaving = await departure(await decoding(a), a.home, a, b)
        way = a.town.migrate(b.peer)
        channel = Interrupted(way, Committed, lambda: a.links.cancel(a.link, NAME, 0))
        await leaving.run(channel)
        await channel.close()
        assert leaving.report().outcome is MoveOutcome.ENDED
        assert not any(events.handoffs for events in unread(a.link))
        await eventually(lambda: a.blocks_used == b.blocks_used == 0, "nobody holds anything")


async def test_a_sequence_that_ran_ahead_of_its_freezing_is_not_held_up_for_so_long_a_rest() -> (
    None
):
    """Between the decision to freeze it and the step boundary at which it happens it decodes on."""
    ahead = (LIMITS.tail_blocks_max + 4) * CARD.block_size
    async with ends("a", "b") as [a, b]:
        reading = asyncio.create_task(read(a))
        a.submit(request(NAME, prompt_tokens=80, tokens_max=3000))
        export = await decoding(a)
        watched = Watched(a.executor, export)
        was_at: list[int] = []  # when it should have been frozen at first

        async def late(job: Callable[[], Awaitable[Answer]]) -> Answer:
            if getattr(job, "__name__", "") == "freeze" and not was_at:
                was_at.append(export.computed)
                await eventually(lambda: export.computed > was_at[0] + ahead, "it runs ahead")
            return await a.home.at_boundary(job)

        home = replace(a.home, executor=watched, at_boundary=late)
        leaving = await departure(export, home, a, b)
        channel = a.town.migrate(b.peer)
        await leaving.run(channel)
        await channel.close()
        reading.cancel()
        assert was_at
        assert leaving.report().outcome is MoveOutcome.MOVED
        assert watched.blocks_frozen <= LIMITS.tail_blocks_max
