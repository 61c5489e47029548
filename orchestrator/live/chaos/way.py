"""The way between two members, and how it carries what they say.

One way for both directions and for all connections of a pair, whoever dialled.
TCP is imitated as its users see it: bytes arrive in order or not at all. What
is delayed arrives later but no slower; a packet that is lost is sent again
after 200 ms, then after twice as long, and holds up all that follow it; what
is sent into a partition arrives when it is over, the end of a connection
included, unless somebody has lost patience by then. What was read at once
counts as one packet.

Bounds: so many packets of one direction are on their way at most; beyond that
the sender is not read from, and feels it as he would feel a full window.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

PACKET_BYTES_MAX = 64 * 1024
PACKETS_MAX = 16  # of one direction, on their way
RESEND_S_FIRST = 0.2  # the shortest that Linux waits before it sends again
RESEND_S_MAX = 3.2
NO_LINGER = struct.pack("ii", 1, 0)  # a connection closed so is reset, not ended


class Reset(Exception):
    """One end has broken the connection, or is not there."""


@dataclass(slots=True)
class Way:
    """What is wrong between the two now. Undisturbed at first."""

    delay_s: float = 0.0
    loss: float = 0.0  # share of packets
    chance: Callable[[], float] = field(default_factory=lambda: random.Random(0).random)
    connections: set[Connection] = field(default_factory=set)
    _is_joined: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._is_joined.set()

    def delay(self, delay_s: float) -> None:
        """What is sent from now on takes so long."""
        self.delay_s = delay_s

    def lose(self, share: float) -> None:
        """So many of the packets that arrive from now on had to be sent again."""
        self.loss = share

    def part(self) -> None:
        """From now on nothing gets through, and nobody is told."""
        self._is_joined.clear()

    def join(self) -> None:
        """What waited gets through."""
        self._is_joined.set()

    def heal(self) -> None:
        """Nothing is wrong any more."""
        self.delay_s = self.loss = 0.0
        self.join()

    def sever(self) -> None:
        """Reset every connection, once."""
        for connection in tuple(self.connections):
            connection.reset()

    @property
    def is_parted(self) -> bool:
        return not self._is_joined.is_set()

    async def joined(self) -> None:
        """Returns while the two are not parted."""
        await self._is_joined.wait()

    async def arrival(self, due_s: float) -> None:
        """Returns when a packet that would have been there by then is there."""
        await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
        resend_s = RESEND_S_FIRST
        while self.chance() < self.loss:
            await asyncio.sleep(resend_s)
            resend_s = min(2 * resend_s, RESEND_S_MAX)
        await self.joined()


@dataclass(slots=True, eq=False)
class End:
    """One end of a connection, as its proxy holds it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def reset(self) -> None:
        """As if the process behind it had died with words unread."""
        with suppress(OSError):
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.writer.transport.abort()


@dataclass(slots=True, eq=False)
class Connection:
    """One connection over a way, until both ends have said all or either is gone."""

    way: Way
    caller: End
    called: End

    def reset(self) -> None:
        self.caller.reset()
        self.called.reset()

    async def carry(self) -> None:
        """Everything both say. Raises nothing: a broken end breaks the other."""
        self.way.connections.add(self)
        directions = [
            asyncio.create_task(self._carry(self.caller.reader, self.called.writer)),
            asyncio.create_task(self._carry(self.called.reader, self.caller.writer)),
        ]
        try:
            await asyncio.gather(*directions)
            self.caller.writer.close()
            self.called.writer.close()
        except (Reset, asyncio.CancelledError):
            self.reset()
        finally:
            self.way.connections.discard(self)
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        packets: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(PACKETS_MAX)
        taking = asyncio.create_task(self._take(source, packets))
        try:
            while True:
                due_s, packet = await packets.get()
                await self.way.arrival(due_s)
                if packet is None:
                    raise Reset
                if not packet:
                    target.write_eof()
                    return
                target.write(packet)
                await target.drain()
        except OSError as error:
            await self.way.joined()
            raise Reset from error
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _take(
        self,
        source: asyncio.StreamReader,
        packets: asyncio.Queue[tuple[float, bytes | None]],
    ) -> None:
        """Read to the end, which is empty, or None where it was broken."""
        packet: bytes | None = b" "
        loop = asyncio.get_running_loop()
        while packet:
            try:
                packet = await source.read(PACKET_BYTES_MAX)
            except OSError:
                packet = None
            await packets.put((loop.time() + self.way.delay_s, packet))
