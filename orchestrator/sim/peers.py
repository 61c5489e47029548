"""The way between simulated replicas: channels for moves, hot blocks and blocks by name.

A message takes the network's delay, and a message of blocks the time that
their bytes take on the wire besides; copies by name share each replica's wires
(wires.py). Ends of channels are orderly: what was sent before arrives first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.network import End, Exchange, Unreachable
from orchestrator.sim.wires import Wires
from protos.messages import CopySource, ModelCard
from protos.moves import Blocks, CopyAsk, CopyChunk, Peer, ToSource, ToTarget
from replicas.shell.moves.channel import PeerDeclined, PeerLost, SourceEnd, WarmBlock
from replicas.shell.moves.giving import Giving
from replicas.shell.moves.spreading import Spreading

# None: the sender ends the channel.
PeerExchange = Exchange[ToTarget | None, ToSource | None]


class CopyEnd(Enum):
    """Nothing more comes of a copy."""

    WHOLE = "whole"  # that was all
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class CopyDeclined:
    reason: str


CopyNews = CopyChunk | CopyDeclined | CopyEnd
CopyExchange = Exchange[CopyAsk, CopyNews]
In = TypeVar("In")
Out = TypeVar("Out")


class Channel(Generic[Out, In]):
    """A PeerChannel over one end of a connection."""

    def __init__(self, end: End[In | None, Out | None], *, block_ns: int) -> None:
        self._end = end
        self._block_ns = block_ns
        self._arrived: asyncio.Queue[In | None] = asyncio.Queue()
        self._is_over = False
        end.listen(self._take, lambda: self._take(None))

    async def send(self, message: Out) -> None:
        if isinstance(message, Blocks):
            await asyncio.sleep(len(message.payloads) * self._block_ns / NS_PER_S)
        if self._is_over:
            raise PeerLost("the other replica has ended the channel")
        self._end.send(message)

    async def receive(self) -> In:
        message = await self._arrived.get()
        if message is None:
            raise PeerLost("the other replica has ended the channel")
        return message

    async def close(self) -> None:
        self._end.send(None)

    def _take(self, message: In | None) -> None:
        self._is_over = self._is_over or message is None
        self._arrived.put_nowait(message)


class Unconnected:
    """The source's end to a target that cannot be reached."""

    async def send(self, message: ToTarget) -> None:
        raise PeerLost("the target cannot be reached")

    async def receive(self) -> ToSource:
        raise PeerLost("the target cannot be reached")

    async def close(self) -> None:
        """There is nothing to end."""


class SimPeers:
    """`Peers` of one node. `spreading`: who gives blocks, by address."""

    def __init__(
        self,
        node: str,
        exchange: PeerExchange,
        spreading: dict[str, Spreading],
        copies: CopyExchange,
        wires: Wires,
    ) -> None:
        self._node = node
        self._exchange = exchange
        self._spreading = spreading
        self._copies = copies
        self._wires = wires
        self._block_ns = wires.block_ns

    def migrate(self, target: Peer) -> SourceEnd:
        try:
            end = self._exchange.connect(self._node, target.address)
        except Unreachable:
            return Unconnected()
        return Channel[ToTarget, ToSource](end, block_ns=self._block_ns)

    async def warm(
        self, peer: Peer, card: ModelCard, blocks_max: int
    ) -> AsyncGenerator[tuple[WarmBlock, ...], None]:
        giver = self._spreading.get(peer.address)
        if giver is None:
            raise PeerLost("the giver cannot be reached")
        async for chunk in giver.give(card, blocks_max):
            await asyncio.sleep(len(chunk) * self._block_ns / NS_PER_S)
            if self._spreading.get(peer.address) is not giver:
                raise PeerLost("the giver is gone")
            yield chunk

    async def copy(self, source: CopySource, ask: CopyAsk) -> AsyncGenerator[CopyChunk, None]:
        try:
            end = self._copies.connect(self._node, source.address)
        except Unreachable:
            raise PeerLost("the source cannot be reached") from None
        news: asyncio.Queue[CopyNews] = asyncio.Queue()
        end.listen(news.put_nowait, lambda: news.put_nowait(CopyEnd.LOST))
        end.send(ask)
        try:
            while True:
                match await news.get():
                    case CopyChunk() as chunk:
                        await self._wires.carry(len(chunk.payloads), source.replica_id, self._node)
                        yield chunk
                    case CopyDeclined(reason):
                        raise PeerDeclined(reason)
                    case CopyEnd.WHOLE:
                        return
                    case CopyEnd.LOST:
                        raise PeerLost("the source has broken off")
        finally:
            end.close()


async def give(giving: Giving, ask: CopyAsk, end: End[CopyAsk, CopyNews]) -> None:
    """The source's side of one copy."""
    try:
        async with aclosing(giving.give(ask)) as chunks:
            async for chunk in chunks:
                end.send(chunk)
        end.send(CopyEnd.WHOLE)
    except PeerDeclined as declined:
        end.send(CopyDeclined(str(declined)))
    except PeerLost:
        end.close()
