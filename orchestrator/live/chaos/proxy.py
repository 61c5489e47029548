"""A TCP proxy before one member: everybody else reaches it here.

It knows who calls, and so over which way a connection leads: either it stands
there for one caller only, or it asks who owns the source port. Nobody is
dialled before the way is open, so a new connection into a partition hangs, as
it should; only that it is established already, since the kernel greets
whoever comes. A member that is not there is told by a reset, at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from orchestrator.live.chaos.way import Connection, End, Way

HOST = "127.0.0.1"

# The way that a connection from one port to another takes.
WayOf = Callable[[int, int], Awaitable[Way]]


class Proxy:
    """Listens from `start` to `stop`; `target_port` may change meanwhile, for new connections."""

    def __init__(self, target_port: int, way_of: WayOf) -> None:
        self.target_port = target_port
        self._way_of = way_of
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Where others reach the member from now on; 0: at any free port."""
        self._server = await asyncio.start_server(self._accept, HOST, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Reset what is open."""
        assert self._server is not None, "stopped before it was started"
        self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(End(reader, writer)))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, caller: End) -> None:
        try:
            ends = (caller.writer.get_extra_info(name)[1] for name in ("peername", "sockname"))
            way = await self._way_of(*ends)
            await way.joined()
            called = End(*await asyncio.open_connection(HOST, self.target_port))
        except OSError:
            caller.reset()
            return
        except asyncio.CancelledError:
            caller.reset()
            raise
        await Connection(way, caller, called).carry()
        for end in (caller, called):
            with suppress(OSError):
                await end.writer.wait_closed()
