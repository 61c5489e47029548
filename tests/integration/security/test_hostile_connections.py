"""Connections that want everything but an answer: each is ended, and the next client is served."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.gateway.body import read_json
from orchestrator.gateway.http_protocol import HttpLimits
from orchestrator.registry.memory import MemoryRegistry
from tests.integration.gateway.conftest import Served, serving
from tests.integration.gateway.scripted import ScriptedReplica
from tests.unit.shell.eventually import eventually

IMPATIENT = HttpLimits(
    # Patient enough for who means it, on a machine that does much else.
    connections_max=8,
    head_s=1.5,
    stall_s=1.5,
    farewell_s=1.5,
    head_bytes_max=4096,
)
WITHIN_S = 60.0
IDLE_CONNECTIONS = 5000
PROMPT = "what a prompt said"
GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
async def served(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> AsyncIterator[Served]:
    async with serving(tmp_path, replica, registry, http_limits=IMPATIENT) as served:
        yield served


class Wire:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def status(self) -> int:
        """Of the next answer, which is read whole."""
        async with asyncio.timeout(WITHIN_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            fields = head.lower().split(b"\r\n")
            (length,) = [int(f.split(b":")[1]) for f in fields if f.startswith(b"content-length")]
            await self.reader.readexactly(length)
        return int(head.split()[1])

    async def rest(self) -> bytes:
        """All that comes until the other end closes; AssertionError when it does not."""
        content = b""
        try:
            async with asyncio.timeout(WITHIN_S):
                while part := await self.reader.read(65536):
                    content += part
        except ConnectionError:
            pass
        except TimeoutError:
            raise AssertionError(f"still open after {WITHIN_S} s, said {content!r}") from None
        return content


@pytest.fixture
async def wires(served: Served) -> AsyncIterator[Wires]:
    async with AsyncExitStack() as stack:
        yield Wires(served.ports.http, stack)


class Wires:
    def __init__(self, port: int, stack: AsyncExitStack) -> None:
        self._port = port
        self._stack = stack

    async def open(self) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._stack.callback(writer.close)
        return Wire(reader, writer)


async def assert_serves(served: Served) -> None:
    async with served.http() as client:
        answer = await client.post("/v1/completions", json={"prompt": "Say"})
    assert answer.json()["choices"][0]["text"] == "Hello!"


async def test_a_head_that_drips_is_cut_off(served: Served, wires: Wires) -> None:
    wire = await wires.open()

    async def drip() -> None:
        await wire.send(b"GET /healthz HTTP/1.1\r\nx-slow: ")
        while True:
            await wire.send(b"a")
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    assert b" 408 " in (await wire.rest())[:20]
    dripping.cancel()
    await assert_serves(served)


async def test_a_body_that_drips_is_cut_off(
    served: Served, wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = partial(read_json, timeout_s=0.3)
    monkeypatch.setattr("orchestrator.gateway.http.read_json", impatient)
    wire = await wires.open()

    async def drip() -> None:
        await wire.send(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n")
        await wire.send(b"content-type: application/json\r\ncontent-length: 100000\r\n\r\n")
        while True:
            await wire.send(b" ")
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    assert b" 408 " in (await wire.rest())[:20]
    dripping.cancel()
    monkeypatch.undo()
    await assert_serves(served)


async def test_empty_lines_before_a_head_are_no_way_to_stay(served: Served, wires: Wires) -> None:
    wire = await wires.open()

    async def drip() -> None:
        while True:
            await wire.send(b"\r\n")
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    assert b" 408 " in (await wire.rest())[:20]
    dripping.cancel()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nx-long: " + b"a" * 500_000,
        b"GET /" + b"a" * 500_000,
        b"GET /healthz HTTP/1.1\r\n" + b"x-a: b\r\n" * 101 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nx-long: " + b"a" * 4097 + b"\r\n\r\n",
        b"GET /" + b"a" * 4097 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["field without end", "path without end", "fields", "field", "path"],
)
async def test_a_head_has_a_size(served: Served, wires: Wires, head: bytes) -> None:
    wire = await wires.open()
    with suppress(ConnectionError):
        await wire.send(head)
    said = await wire.rest()
    assert not said or b" 431 " in said[:20], "an answer may be lost with the connection"
    await assert_serves(served)


async def test_a_head_within_its_size_is_answered(wires: Wires) -> None:
    wire = await wires.open()
    await wire.send(b"GET /healthz HTTP/1.1\r\nx-long: " + b"a" * 3900 + b"\r\n")
    await wire.send(b"x-a: b\r\n\r\n")
    assert await wire.status() == 200


async def test_a_body_that_nobody_waits_for_does_not_keep_its_connection(wires: Wires) -> None:
    wire = await wires.open()
    await wire.send(b"POST /healthz HTTP/1.1\r\ncontent-length: 1000000000000\r\n\r\n")
    assert await wire.status() == 405

    async def send_on() -> None:
        while True:
            await wire.send(b"a" * 1000)
            await asyncio.sleep(0.01)

    sending = asyncio.create_task(send_on())
    await wire.rest()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def test_a_body_that_nobody_waited_for_costs_no_connection(wires: Wires) -> None:
    wire, clock = await wires.open(), await wires.open()
    await wire.send(b"POST /healthz HTTP/1.1\r\ncontent-length: 200000\r\n\r\n")
    assert await wire.status() == 405
    await wire.send(b"a" * 200_000)
    await clock.send(b"GET")
    assert await clock.status() == 408, "what was late has been ended by now"
    await wire.send(GET)
    assert await wire.status() == 200


async def test_some_requests_may_wait_on_a_connection_and_not_any_number(
    served: Served, wires: Wires
) -> None:
    some = await wires.open()
    await some.send(GET * 5)
    assert [await some.status() for _ in range(5)] == [200] * 5
    many = await wires.open()
    await many.send(GET * 2000)
    assert (await many.rest()).count(b"HTTP/1.1") < 50
    await assert_serves(served)


async def test_whoever_reads_nothing_is_cut_off(wires: Wires) -> None:
    wire = await wires.open()
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(WITHIN_S):
            while True:
                await wire.send(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n")
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\ncontent-length: 5\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET",
        b"POST /v1/completions HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\nno number\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nx\x00y: z\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nx: y\r\n folded: z\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_quietly(
    served: Served, wires: Wires, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    wire = await wires.open()
    with caplog.at_level(logging.WARNING):
        await wire.send(request_bytes)
        said = await wire.rest()
    assert said.split()[1] in (b"400", b"404", b"405", b"501"), said
    assert b"HTTP/1.1" not in said[1:], "one answer, whatever may hide in it"
    assert not caplog.records, "nobody fills the log from outside"
    await assert_serves(served)


async def test_the_longest_idle_make_room(served: Served, wires: Wires) -> None:
    first = await wires.open()
    await first.send(GET)
    assert await first.status() == 200
    others = [await wires.open() for _ in range(IMPATIENT.connections_max)]
    assert await first.rest() == b""
    await others[-1].send(GET)
    assert await others[-1].status() == 200


async def test_nobody_who_is_served_makes_room(served: Served, wires: Wires) -> None:
    served.replica.held_after = 2
    body = b'{"prompt": "a", "stream": true}'
    ask = (
        b"POST /v1/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )
    served_wires = [await wires.open() for _ in range(IMPATIENT.connections_max)]
    for wire in served_wires:
        await wire.send(ask)
    await eventually(
        lambda: len(served.replica.requests) == len(served_wires), "all of them are being served"
    )
    assert b" 503 " in (await (await wires.open()).rest())[:20]
    served.replica.release.set()
    for wire in served_wires:
        async with asyncio.timeout(WITHIN_S):
            assert b"[DONE]" in await wire.reader.readuntil(b"[DONE]")
    await assert_serves(served)


@pytest.fixture
def many_files() -> None:
    """Both ends of every connection are in this process."""
    needed = 2 * IDLE_CONNECTIONS + 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"this test opens {needed} files, and this machine allows {hard}")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@pytest.mark.usefixtures("many_files")
async def test_five_thousand_idle_connections_change_nothing(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> None:
    async with serving(tmp_path, replica, registry) as served, AsyncExitStack() as stack:
        for port, count in ((served.ports.http, IDLE_CONNECTIONS), (served.ports.grpc, 500)):
            for _ in range(count):
                idle = stack.enter_context(socket.socket())
                idle.setblocking(False)
                await asyncio.get_running_loop().sock_connect(idle, ("127.0.0.1", port))
        await assert_serves(served)
        async with grpc.aio.insecure_channel(served.grpc_address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=WITHIN_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_bug_is_logged_without_its_words(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError(PROMPT)

    monkeypatch.setattr(served.gateway, "card", broken)
    async with served.http() as client:
        answer = await client.get("/v1/models", headers={"x-request-id": "mine"})
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    assert answer.headers["x-request-id"] == "mine"
    assert "request=mine bug=ZeroDivisionError" in caplog.text
    assert "test_hostile_connections.py" in caplog.text, "where it happened"
    assert PROMPT not in answer.text + caplog.text
