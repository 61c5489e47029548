"""The way between simulated replicas: channels for moves, and hot blocks for the taking.

A message takes the network's delay, and a message of blocks the time that
their bytes take on the wire besides. Ends of channels are orderly: what was
sent before arrives first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.network import End, Exchange, Unreachable
from protos.messages import ModelCard
from protos.moves import Blocks, Peer, ToSource, ToTarget
from replicas.shell.moves.channel import PeerLost, SourceEnd, WarmBlock
from replicas.shell.moves.spreading import Spreading

# None: the sender ends the channel.
PeerExchange = Exchange[ToTarget | None, ToSource | None]
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
        self, node: str, exchange: PeerExchange, spreading: dict[str, Spreading], *, block_ns: int
    ) -> None:
        self._node = node
        self._exchange = exchange
        self._spreading = spreading
        self._block_ns = block_ns

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
