"""Connections to servers: one httpx client, bounded by file descriptors alone.

Every request has a connection of its own, as the request of another user
would: no request waits for another one's connection, and none meets one that
its server has just closed. A client that reads slowly has a small receive
buffer besides, so that what it has not read is the server's to keep.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

# The kernel doubles it: some twenty events, not thousands.
SLOW_BUFFER_BYTES = 4096
_OWN_CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=0)
_CODES: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, "connection_refused"),
    (ConnectionResetError, "connection_reset"),
    (BrokenPipeError, "connection_reset"),
    (socket.gaierror, "name_not_found"),
    (ssl.SSLError, "tls_failed"),
    (httpx.ConnectTimeout, "connect_timeout"),
    (httpx.ReadTimeout, "silence"),
    (httpx.WriteTimeout, "send_timeout"),
    (httpx.RemoteProtocolError, "connection_closed"),
    (httpx.ReadError, "connection_lost"),
    (httpx.WriteError, "connection_lost"),
    (httpx.ConnectError, "connect_failed"),
    (httpx.InvalidURL, "invalid_url"),
)
_NO_DESCRIPTORS = 24  # EMFILE


@dataclass(frozen=True, slots=True)
class Wire:
    """The ways to send a request."""

    quick: httpx.AsyncClient
    slow: httpx.AsyncClient


@asynccontextmanager
async def open_wire(key: str = "") -> AsyncIterator[Wire]:
    """With `key`, every request carries it as a bearer token."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    small = httpx.AsyncHTTPTransport(
        limits=_OWN_CONNECTIONS,
        socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)],
    )
    async with (
        httpx.AsyncClient(headers=headers, limits=_OWN_CONNECTIONS) as quick,
        httpx.AsyncClient(headers=headers, transport=small) as slow,
    ):
        yield Wire(quick, slow)


def failure_code(error: BaseException) -> str:
    """Why there was no connection, or no more, in one stable word."""
    chain = tuple(_causes(error))
    if any(isinstance(cause, OSError) and cause.errno == _NO_DESCRIPTORS for cause in chain):
        return "no_file_descriptors"
    for kind, code in _CODES:
        if any(isinstance(cause, kind) for cause in chain):
            return code
    return "transport_error"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
