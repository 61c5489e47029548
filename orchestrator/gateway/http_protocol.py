"""HTTP/1.1 as uvicorn speaks it, with a bound on everything that a stranger can use up.

Uvicorn bounds neither a request's head nor the time it takes, lets a client
queue requests without end on one connection, and closes a connection by
waiting for its client to read. Here a head has a size and a time; a client
that owes bytes, or leaves bytes unread, is cut off; and a server has a number
of connections. At that number whoever has been asking for nothing longest
makes room, and only if everybody is being served is a newcomer refused.

A body's size and time are body.py's matter; it knows which bodies are wanted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator.gateway.http_errors import error_of_status
from orchestrator.gateway.timer import Timer


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one server spends on strangers."""

    connections_max: int = 10_000
    head_bytes_max: int = 16 * 1024  # a head of our clients has some hundred
    head_fields_max: int = 100
    head_s: float = 10.0  # from a head's first byte to its last
    stall_s: float = 60.0  # without room for what a client should read
    farewell_s: float = 5.0  # for the last bytes of a connection that is closed
    pipelined_max: int = 8  # requests that wait for the one before them


class Reading(Enum):
    """What the next byte of a connection belongs to."""

    NOTHING = auto()  # yet: the last request was read, or there was none
    HEAD = auto()
    BODY = auto()


class HeadRefused(Exception):
    """A head that is not read on."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Door:
    """Who is connected to one server, and who of them is being served."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self._open: set[GuardedHttp] = set()
        self._idle: dict[GuardedHttp, None] = {}  # those that ask for nothing, longest first

    def enter(self, connection: GuardedHttp) -> bool:
        """Whether there is room; somebody idle may have to leave for it."""
        if len(self._open) >= self.limits.connections_max:
            if not self._idle:
                return False
            next(iter(self._idle)).cut_off()
        self._open.add(connection)
        self._idle[connection] = None
        return True

    def serve(self, connection: GuardedHttp) -> None:
        self._idle.pop(connection, None)

    def rest(self, connection: GuardedHttp) -> None:
        if connection in self._open:
            self._idle[connection] = None

    def leave(self, connection: GuardedHttp) -> None:
        self._open.discard(connection)
        self._idle.pop(connection, None)


class GuardedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, door: Door, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limits = door.limits
        self._door = door
        self._limits = limits
        self._reading = Reading.NOTHING
        self._head_bytes = 0  # since the read after the one in which the head began
        self._refusal: HeadRefused | None = None
        self._head_timer = Timer(self.loop, limits.head_s, self._head_is_late)
        self._stall_timer = Timer(self.loop, limits.stall_s, self.cut_off)
        self._farewell_timer = Timer(self.loop, limits.farewell_s, self.cut_off)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._door.enter(self):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
            return
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self)
        for timer in (self._head_timer, self._stall_timer, self._farewell_timer):
            timer.stop()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._reading is Reading.HEAD and self._head_bytes > self._limits.head_bytes_max:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large")
        elif not self._is_serving and self.timeout_keep_alive_task is None:
            # Part of a head, of a body that nobody waits for, or of nothing at all.
            self._head_timer.start()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = Reading.HEAD
        self._head_bytes = 0
        self._unset_keepalive_if_required()

    def on_headers_complete(self) -> None:
        self._reading = Reading.BODY
        self._head_timer.stop()
        try:
            self._check_head()
        except HeadRefused as refusal:
            self._refusal = refusal
            raise  # stops the parser, which calls send_400_response
        self._door.serve(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._reading = Reading.NOTHING
        if not self._is_serving:  # a body to which the answer had been given before
            self._head_timer.stop()
            self._await_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._farewell_timer.start()
        elif not self._is_serving:
            self._door.rest(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall_timer.stop()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._farewell_timer.start()

    def send_400_response(self, msg: str) -> None:
        """Whatever stopped the parser."""
        refusal = self._refusal or HeadRefused(
            HTTPStatus.BAD_REQUEST, "this is not an HTTP request"
        )
        self._refuse(refusal.status, refusal.message)

    def cut_off(self) -> None:
        """Close without another word, and without waiting for anybody to read."""
        self._door.leave(self)
        self.transport.abort()

    @property
    def _is_serving(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_request(self) -> None:
        """A client that says nothing at all is as welcome as one between two requests."""
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _head_is_late(self) -> None:
        if self._reading is Reading.BODY:
            self.cut_off()  # its request was answered long ago
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the head did not arrive in time")

    def _check_head(self) -> None:
        """Raises HeadRefused."""
        limits = self._limits
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > limits.head_bytes_max or len(self.headers) > limits.head_fields_max:
            raise HeadRefused(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"the head has more than {limits.head_bytes_max} bytes "
                f"or {limits.head_fields_max} fields",
            )
        if len(self.pipeline) >= limits.pipelined_max:
            raise HeadRefused(
                HTTPStatus.TOO_MANY_REQUESTS, "too many requests wait on this connection"
            )

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Say why and close; only close where it would get into the middle of an answer."""
        if self._is_serving:
            if self.cycle.response_started:
                self.cut_off()
                return
            self.cycle.disconnected = True  # whoever works on it is told, and sends no more
            self.cycle.message_event.set()
        body = json.dumps(error_of_status(status, message)).encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (status, status.phrase.encode(), len(body), body)
        )
        self.transport.close()
        self._farewell_timer.start()


def guarded_http(limits: HttpLimits) -> type[asyncio.Protocol]:
    """What uvicorn makes its connections with: a class to it, and one door for all of them."""
    make: Callable[..., GuardedHttp] = partial(GuardedHttp, door=Door(limits))
    return cast("type[asyncio.Protocol]", make)
