from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from orchestrator.gateway.client import Client
from orchestrator.gateway.stall import STALL_S
from tests.unit.dispatch.virtual_time import run


class Connection:
    """The server's half of ASGI, under the test's control."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.leaves = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    async def receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)


def test_work_is_done_to_its_end_for_a_client_that_stays() -> None:
    connection = Connection()

    async def scenario() -> None:
        client = Client(connection.receive, connection.send)

        async def work() -> None:
            await client.start(200, [])
            await asyncio.sleep(20 * STALL_S)  # the replica takes its time: that is no stall
            await client.send(b"x", more=False)

        await client.attend(work())

    run(scenario())
    assert [message["type"] for message in connection.sent] == [
        "http.response.start",
        "http.response.body",
    ]


async def test_work_ends_when_its_client_leaves() -> None:
    connection = Connection()
    client = Client(connection.receive, connection.send)
    ended = asyncio.Event()

    async def work() -> None:
        connection.leaves.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await client.attend(work())
    assert ended.is_set()


def test_work_ends_when_its_client_stops_reading() -> None:
    connection = Connection()
    connection.reads.clear()

    async def scenario() -> float:
        client = Client(connection.receive, connection.send)

        async def work() -> None:
            await client.send(b"x", more=True)

        async with asyncio.timeout(10 * STALL_S):
            await client.attend(work())
        return asyncio.get_running_loop().time()

    assert STALL_S <= run(scenario()) <= 2 * STALL_S
    assert connection.sent == []


async def test_a_failure_of_the_work_is_raised() -> None:
    connection = Connection()

    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Client(connection.receive, connection.send).attend(work())


async def test_work_ends_with_the_task_that_attends() -> None:
    connection = Connection()
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    attending = asyncio.create_task(Client(connection.receive, connection.send).attend(work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    attending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attending
    assert ended.is_set()
