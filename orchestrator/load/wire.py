"""Connections to servers: bounded by file descriptors alone.

Every request has a connection of its own, as the request of another user
would: no request waits for another one's connection, and none meets one that
its server has just closed. They go straight to the server, whatever proxy the
environment names. A client that reads slowly has small buffers besides, so
that what it has not read is the server's to keep.

aiohttp because its parser is compiled: hearing a token costs a third of what
it costs with a client in pure Python, and a sender that is busy hearing sends
late.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from errno import EMFILE

import aiohttp
from aiohttp import AddrInfoType

# The kernel doubles it: some twenty events, not thousands.
SLOW_BUFFER_BYTES = 4096
# The first kind that fits says why; OSErrors are causes, and more exact than what wraps them.
_CODES: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, "connection_refused"),
    (ConnectionResetError, "connection_reset"),
    (BrokenPipeError, "connection_reset"),
    (socket.gaierror, "name_not_found"),
    (ssl.SSLError, "tls_failed"),
    (aiohttp.ClientConnectorDNSError, "name_not_found"),
    (aiohttp.ConnectionTimeoutError, "connect_timeout"),
    (TimeoutError, "silence"),
    (aiohttp.ServerDisconnectedError, "connection_closed"),
    (aiohttp.ClientPayloadError, "connection_closed"),
    (aiohttp.ClientResponseError, "not_http"),
    (aiohttp.ClientConnectorError, "connect_failed"),
    (aiohttp.InvalidURL, "invalid_url"),
)


@dataclass(frozen=True, slots=True)
class Wire:
    """The ways to send a request."""

    quick: aiohttp.ClientSession
    slow: aiohttp.ClientSession


@dataclass(frozen=True, slots=True)
class Access:
    """What a client brings to a server's door."""

    key: str = ""  # every request carries it as a bearer token
    trust: ssl.SSLContext | None = None  # None: whom the system believes


@asynccontextmanager
async def open_wire(access: Access | None = None) -> AsyncIterator[Wire]:
    """Without access: none is asked for."""
    access = access or Access()
    headers = {"Accept-Encoding": "identity"}  # compressed, tokens would wait for each other
    if access.key:
        headers["Authorization"] = f"Bearer {access.key}"
    trust = True if access.trust is None else access.trust
    own = aiohttp.TCPConnector(limit=0, force_close=True, ssl=trust)
    small = aiohttp.TCPConnector(limit=0, force_close=True, ssl=trust, socket_factory=_small_socket)
    async with (
        aiohttp.ClientSession(headers=headers, connector=own) as quick,
        aiohttp.ClientSession(
            headers=headers, connector=small, read_bufsize=SLOW_BUFFER_BYTES
        ) as slow,
    ):
        yield Wire(quick, slow)


def _small_socket(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
    return made


def failure_code(error: BaseException) -> str:
    """Why there was no connection, or no more, in one stable word."""
    chain = tuple(_causes(error))
    if any(isinstance(cause, OSError) and cause.errno == EMFILE for cause in chain):
        return "no_file_descriptors"
    for kind, code in _CODES:
        if any(isinstance(cause, kind) for cause in chain):
            return code
    return "transport_error"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
