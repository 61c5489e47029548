"""One connection of a client with a gateway, in the simulated network.

The request goes one way, what is said of it comes the other way, and whatever
is wrong between `clients` and the gateway is wrong for both. What is sent into
a partition arrives when it is over, the client's hanging up included: until it
has learned of that, the gateway works for nobody.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from orchestrator.chaos.faults import CLIENTS
from orchestrator.gateway.dispatch import Dispatch
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.stream import Stream
from orchestrator.sim.clock import VirtualClock
from orchestrator.sim.hosts import GatewayLife
from orchestrator.sim.network import End, Network
from protos.messages import Delta, Request


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client sends."""

    request: Request
    finished: frozenset[int] | None  # choices it has heard to their ends; None: it heard nothing
    reads_per_s: float | None  # tokens that it takes; None: all at once


@dataclass(frozen=True, slots=True)
class Opened:
    """There is a stream, and so much of its prompt was found."""

    hit_tokens: int


@dataclass(frozen=True, slots=True)
class Ended:
    """All is said; or no more will be, for this reason."""

    error: GatewayError | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection broke."""


Told = Opened | Delta | Ended | Lost


class NotYet(Exception):
    """The gateway knows too little to go on with a stream that another one began."""


class Connection:
    """The client's end."""

    def __init__(self, network: Network, gateway: str, answering: Answering) -> None:
        """Raises Unreachable where the two are parted."""
        self._told: asyncio.Queue[Told] = asyncio.Queue()
        near: End[Told, Asked]
        far: End[Asked, Told]
        near, far = network.connect(CLIENTS, gateway)
        near.listen(self._told.put_nowait, lambda: self._told.put_nowait(Lost()))
        answering.listen(far)
        self._near = near

    def ask(self, asked: Asked) -> None:
        """Once."""
        self._near.send(asked)

    async def told(self) -> Told:
        """What comes, in order; nothing after Ended or Lost."""
        return await self._told.get()

    def close(self) -> None:
        """Hang up, whatever is still to be said."""
        self._near.close()


class Answering:
    """The gateway's end: does what it is asked, until all is said or the client is gone."""

    def __init__(self, life: GatewayLife, clock: VirtualClock, tasks: asyncio.TaskGroup) -> None:
        self._life = life
        self._clock = clock
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None

    def listen(self, end: End[Asked, Told]) -> None:
        self._end = end
        end.listen(self._begin, self._hang_up)

    def _begin(self, asked: Asked) -> None:
        self._task = self._tasks.create_task(self._answer(asked))

    def _hang_up(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _answer(self, asked: Asked) -> None:
        """Where the gateway dies under it, the network breaks the connection."""
        try:
            if await self._life.handle(self._say(asked)):
                self._end.send(Ended())
        except GatewayError as error:
            self._end.send(Ended(error))
        except NotYet:
            self._end.close()

    async def _say(self, asked: Asked) -> None:
        async with await opened(self._life.dispatch, asked) as stream:
            self._end.send(Opened(stream.hit_tokens))
            async for delta in stream:
                self._end.send(delta)
                if asked.reads_per_s is not None:  # no buffer between the two
                    await self._clock.sleep(len(delta.tokens) / asked.reads_per_s)


async def opened(dispatch: Dispatch, asked: Asked) -> Stream:
    if asked.finished is None:
        return await dispatch.start(asked.request)
    card = dispatch.card()
    if card is None:
        raise NotYet
    return await dispatch.take_over(asked.request, card, finished=asked.finished)
