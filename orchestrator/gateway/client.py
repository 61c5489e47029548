"""The other end of an HTTP exchange: it takes bytes, and it may leave.

Leaving shows in two ways. A connection that ends is noticed at once; one that
stays but reads nothing any more shows only in a write that does not return (stall.py).
Either way the work for it is cancelled, because it holds a replica's blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive, Send

from orchestrator.gateway.stall import Writer


class Client:
    """Of one exchange, once its request has been read."""

    def __init__(self, receive: Receive, send: Send, send_body: Send | None = None) -> None:
        """`send_body` takes what follows the head, where there is a shorter way for it."""
        self._receive = receive
        self._send_head = send
        self._writer = Writer(send_body or send)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        head = {"type": "http.response.start", "status": status, "headers": headers}
        await self._writer.write(head, by=self._send_head)

    async def send(self, body: bytes, *, more: bool) -> None:
        """Returns when the connection has room for more."""
        await self._writer.write({"type": "http.response.body", "body": body, "more_body": more})

    async def attend(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, unless and until the client has left."""
        working = asyncio.create_task(work)
        leaving = asyncio.create_task(self._left())
        stalling = asyncio.create_task(self._writer.stalled())
        try:
            await asyncio.wait({working, leaving, stalling}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for task in (working, leaving, stalling):
                task.cancel()
            await asyncio.gather(working, leaving, stalling, return_exceptions=True)

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
