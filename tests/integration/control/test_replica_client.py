"""A gateway's link over real gRPC on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from orchestrator.control.seams import ReplicaLost, ReplicaRefused
from orchestrator.gateway.link_config import LinkConfig
from orchestrator.live.replica_client import GrpcReplicaClient
from protos.messages import Delta, Handoff, RefusalReason, Request
from protos.transport import Transport
from tests.integration.control.data_server import DataServer, delta, request, serving
from tests.integration.control.until import until, until_true
from tests.ports import free_ports

PATIENT = LinkConfig(silence_s_max=30.0, retry_s_first=0.01, retry_s_max=0.05)


@asynccontextmanager
async def linked(
    server: DataServer, config: LinkConfig = PATIENT
) -> AsyncIterator[GrpcReplicaClient]:
    client = GrpcReplicaClient(server.record, lambda: None, config, Transport())
    try:
        await until(lambda: client.snapshot() is not None, "the link is up")
        yield client
    finally:
        await client.close()


async def read(client: GrpcReplicaClient, what: Request) -> list[Delta | Handoff]:
    return [delta async for delta in client.submit(what)]


async def test_the_first_report_arrives_without_a_request() -> None:
    async with serving(DataServer()) as server, linked(server) as client:
        snapshot = client.snapshot()
        assert snapshot is not None
        assert snapshot.replica_id == "a"
        assert server.attached == 1


async def test_every_report_is_told() -> None:
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1

    async with serving(DataServer()) as server:
        client = GrpcReplicaClient(server.record, count, PATIENT, Transport())
        await until(lambda: seen >= 3, "three reports")
        await client.close()
        assert client.snapshot() is None


async def test_a_link_that_is_down_says_so_and_takes_nothing() -> None:
    server = DataServer()
    (port,) = free_ports(1)  # which nobody is given while the server is away
    async with serving(server, port):
        client = GrpcReplicaClient(server.record, lambda: None, PATIENT, Transport())
        await until(lambda: client.snapshot() is not None, "the link is up")
    await until(lambda: client.snapshot() is None, "the link is down")
    with pytest.raises(ReplicaLost):
        await read(client, request("r"))
    async with serving(server, port):
        await until(lambda: client.snapshot() is not None, "the link is up again")
        reading = asyncio.create_task(read(client, request("r")))
        await until(lambda: server.submitted, "the request arrived")
        server.send(delta("r", 0, last=True))
        assert len(await reading) == 1
        await client.close()


async def test_a_silent_replica_is_lost_after_a_stated_time() -> None:
    """The process is there and its socket is open, but it says nothing any more."""
    server = DataServer()
    server.reports_interval_s = 600.0
    config = LinkConfig(silence_s_max=2.0, retry_s_first=600.0)
    async with serving(server), linked(server, config) as client:
        with pytest.raises(ReplicaLost):
            await read(client, request("r"))
        assert client.snapshot() is None


async def test_a_reader_that_is_too_slow_loses_its_request_and_no_other() -> None:
    config = LinkConfig(silence_s_max=30.0, inbox_deltas_max=10)
    async with serving(DataServer()) as server, linked(server, config) as client:
        slow, other = client.submit(request("slow", tokens_max=99)), client.submit(request("other"))
        first = asyncio.ensure_future(anext(slow))
        await until(lambda: server.submitted, "the request arrived")
        server.send(delta("slow", 0))
        await first
        reading = asyncio.ensure_future(anext(other))
        await until(lambda: len(server.submitted) == 2, "the other request arrived")
        server.send(*(delta("slow", index) for index in range(1, 50)))
        server.send(delta("other", 0))
        assert await reading == delta("other", 0)
        seen = []
        with pytest.raises(ReplicaLost):
            async for item in slow:
                assert isinstance(item, Delta)
                seen.append(item.first_index)
        assert seen == list(range(1, 11))
        await until(lambda: server.cancelled == [("slow", 0)], "the slow request was cancelled")
        await other.aclose()


async def test_a_bound_on_requests_refuses_so_that_another_replica_is_tried() -> None:
    config = LinkConfig(silence_s_max=30.0, choices_max=1)
    async with serving(DataServer()) as server, linked(server, config) as client:
        reading = asyncio.create_task(read(client, request("one")))
        await until(lambda: server.submitted, "the request arrived")
        with pytest.raises(ReplicaRefused) as caught:
            await read(client, request("two"))
        assert caught.value.refusal.reason is RefusalReason.QUEUE_FULL
        server.send(delta("one", 0, last=True))
        await reading


async def test_a_replica_that_reports_but_does_not_read_is_lost_at_a_bound() -> None:
    """Its clients come and go: only cancelled requests pile up in the outbox."""
    config = replace(PATIENT, choices_max=4)
    server = DataServer()
    server.reads.clear()
    async with serving(server), linked(server, config) as client:
        waiting = asyncio.create_task(read(client, request("waits")))

        async def come_and_go() -> bool:
            prompt = (1,) * 100_000  # more than what the transport buffers, soon
            visit = asyncio.create_task(read(client, request("goes", prompt=prompt)))
            await asyncio.sleep(0)
            visit.cancel()
            await asyncio.gather(visit, return_exceptions=True)
            return waiting.done()

        await until_true(come_and_go, "the link was broken")
        with pytest.raises(ReplicaLost):
            await waiting
        server.reads.set()
        await until(lambda: server.attached == 2 and client.snapshot(), "the link is up again")
        reading = asyncio.create_task(read(client, request("r")))
        await until(
            lambda: any(each.request_id == "r" for each in server.submitted), "the request arrived"
        )
        server.send(delta("r", 0, last=True))
        assert len(await reading) == 1
