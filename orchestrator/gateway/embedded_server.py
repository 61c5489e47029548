"""An HTTP server inside a process that has other things to do, and its port.

Uvicorn as it is made for being a whole process, without what makes it one: the
process's signals stay the process's, and a port that is taken is an exception.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from protos.address import CannotListen, host_port


class EmbeddedServer(uvicorn.Server):
    """Says when it has started or failed to, and leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.has_started.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int, *, backlog: int) -> socket.socket:
    """A socket for it, before it starts. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        address = host_port(host, port)
        raise CannotListen(f"cannot listen on {address} for HTTP: {error.strerror}") from error
    return listener
