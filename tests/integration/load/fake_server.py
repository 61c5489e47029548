"""A server that says what its script wants, lies included. In a thread, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

STARTED_S = 30.0


@dataclass
class Exchange:
    """One request, and the ways to answer it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    writer: asyncio.StreamWriter
    is_started: bool = False

    async def say(self, data: bytes) -> None:
        """Raw bytes of a stream, as one piece."""
        if not self.is_started:
            self.start()
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    def start(self, **headers: str) -> None:
        """The head of a stream."""
        self.is_started = True
        lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "transfer-encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())

    async def tokens(self, *texts: str, ids: bool = False, first: int = 0) -> None:
        """An event for each."""
        for place, text in enumerate(texts, start=first + 1):
            await self.say(token(text, f"at-{place}" if ids else ""))

    async def end(self, tokens: int = 0, prompt_tokens: int = 0, hit_tokens: int = 0) -> None:
        """As a whole answer ends."""
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "prompt_tokens_details": {"cached_tokens": hit_tokens},
        }
        await self.say(finish())
        if tokens:
            await self.say(event({"choices": [], "usage": usage}))
        await self.say(b"data: [DONE]\n\n")
        self.writer.write(b"0\r\n\r\n")

    def reply(self, status: int, content: bytes) -> None:
        """A whole response."""
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(content)}\r\n\r\n"
        self.writer.write(head.encode() + content)

    def refuse(self, status: int, code: str) -> None:
        self.reply(status, json.dumps({"error": {"message": "no", "code": code}}).encode())

    def cut(self) -> None:
        """What was said is out; then the connection is gone."""
        self.writer.close()


def event(chunk: dict[str, Any], id_: str = "") -> bytes:
    line = f"id: {id_}\n" if id_ else ""
    return f"{line}data: {json.dumps(chunk)}\n\n".encode()


def token(text: str, id_: str = "") -> bytes:
    return event({"choices": [{"index": 0, "text": text, "finish_reason": None}]}, id_)


def finish() -> bytes:
    return event({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]})


Script = Callable[[Exchange], Awaitable[None]]


@dataclass
class FakeServer:
    """Answers every POST by its script; lists one model."""

    script: Script
    seen: list[Exchange] = field(default_factory=list)
    url: str = ""
    send_buffer_bytes: int | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        if self.send_buffer_bytes is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer_bytes)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(STARTED_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STARTED_S)
        self._loop.close()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, sock=self._listener)
        started.set()
        await self._stop.wait()
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # its client went away, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        pairs = (line.partition(": ") for line in head[1:] if line)
        headers = {name.lower(): value for name, _, value in pairs}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        body = json.loads(content) if content else {}
        exchange = Exchange(path, headers, body, writer)
        if method == "GET":
            exchange.reply(200, b'{"data": [{"id": "a-model"}]}')
        else:
            self.seen.append(exchange)
            await self.script(exchange)
        await writer.drain()
