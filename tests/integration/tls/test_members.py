"""Mutual TLS between members: all of them work together, and nobody else gets in anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import trustme
from click.testing import CliRunner
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.__main__ import blockyard
from orchestrator.live import operator_client
from protos import control_pb2, control_pb2_grpc
from protos.messages import ReplicaId, Request, RequestId, SamplingParams
from protos.moves import MoveOutcome, MoveReport
from protos.transport import Transport
from tests.integration.control.until import until_true
from tests.integration.tls.authorities import member
from tests.integration.tls.members import Members, members
from tests.ports import free_ports

TOKENS = 1000
PROMPT = tuple(b"A block table is a list of the blocks that a sequence has filled so far.")


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    return member(tmp_path / "internal", authority)


@pytest.fixture
async def made(folder: Path) -> AsyncIterator[Members]:
    async with members(folder) as made:
        yield made


def greedy(name: str) -> Request:
    return Request(RequestId(name), PROMPT, SamplingParams(TOKENS, temperature=0.0))


async def move_when_seen(
    made: Members, request_id: str, target: ReplicaId
) -> tuple[MoveReport, ReplicaId]:
    """Once a replica has reported that it runs."""

    async def seen() -> bool:
        fleet = await asyncio.to_thread(operator_client.fleet, made.control, sequences=True)
        return any(s.request_id == request_id for r in fleet.replicas for s in r.sequences)

    await until_true(seen, f"{request_id} is reported")
    return await asyncio.to_thread(operator_client.move, made.control, request_id, target)


async def health_of(channel: aio.Channel) -> bool:
    """Whether somebody there says that he is well. Raises AioRpcError where nobody may ask."""
    async with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def test_a_request_is_answered_and_moved_with_the_tokens_that_it_would_have_had(
    made: Members,
) -> None:
    """Every kind of connection is used: to replicas, between them, to and from the leader."""

    async def attached() -> bool:
        return len((await asyncio.to_thread(operator_client.fleet, made.control)).replicas) == 2

    await until_true(attached, "both replicas found the control plane")
    async with await made.dispatch.start(greedy("calm")) as stream:
        calm = [token.token async for delta in stream for token in delta.tokens]
    assert len(calm) == TOKENS
    async with await made.dispatch.start(greedy("moved")) as stream:
        source = stream.replica_id
        (target,) = made.addresses.keys() - {source}
        first = await anext(stream)
        move = asyncio.create_task(move_when_seen(made, "moved", ReplicaId(target)))
        moved = [token.token for token in first.tokens]
        moved += [token.token async for delta in stream for token in delta.tokens]
        assert moved == calm
        report, left = await move
    assert (report.outcome, left) == (MoveOutcome.MOVED, source)


async def test_no_stranger_gets_into_any_port(
    made: Members, tmp_path: Path, authority: trustme.CA
) -> None:
    """Power: with `require_client_authentication=False` who shows nothing gets in."""
    believes = authority.cert_pem.bytes()
    foreign = Transport(member(tmp_path / "foreign", trustme.CA(), believes=authority))
    name = (("grpc.ssl_target_name_override", "blockyard.internal"),)
    for port in made.ports:
        assert await health_of(made.control.transport.channel(port)), "a member does"
        strangers = {
            "in the clear": aio.insecure_channel(port),
            "without a certificate": aio.secure_channel(
                port, grpc.ssl_channel_credentials(believes), options=name
            ),
            "with another authority's": foreign.channel(port),
        }
        for how, channel in strangers.items():
            with pytest.raises(aio.AioRpcError) as caught:
                await health_of(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, (port, how)


async def test_a_member_speaks_to_nobody_who_only_poses_as_one(
    made: Members, tmp_path: Path, authority: trustme.CA
) -> None:
    """A server of another authority, and one of ours that was signed for something else."""
    poses = {
        "foreign": Transport(member(tmp_path / "poses", trustme.CA(), believes=authority)),
        "a door": Transport(member(tmp_path / "door", authority, name="llm.example.com")),
    }
    for pose, transport in poses.items():
        server = aio.server(options=(("grpc.so_reuseport", 0),))
        port = transport.bind(server, "127.0.0.1:0")
        await server.start()
        with pytest.raises(aio.AioRpcError) as caught:
            await health_of(made.control.transport.channel(f"127.0.0.1:{port}"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, pose
        await server.stop(0)


async def test_members_renewed_on_disk_meet_again_without_a_restart(
    made: Members, folder: Path
) -> None:
    before = Transport(member(folder.parent / "before", trustme.CA()))
    assert await health_of(made.control.transport.channel(made.control.address))
    member(folder, trustme.CA())
    for port in made.ports:
        assert await health_of(made.control.transport.channel(port))
        with pytest.raises(aio.AioRpcError):
            await health_of(before.channel(port))
    async with await made.dispatch.start(greedy("after")) as stream:
        assert len([t async for delta in stream for t in delta.tokens]) == TOKENS


async def test_the_port_for_probes_answers_health_and_nothing_else(folder: Path) -> None:
    (port,) = free_ports(1)
    async with members(folder, health_port=port):
        address = f"127.0.0.1:{port}"
        assert await health_of(aio.insecure_channel(address))
        async with aio.insecure_channel(address) as channel:
            stub = control_pb2_grpc.ReplicaDataStub(channel)  # type: ignore[no-untyped-call]
            call = stub.Attach(iter([control_pb2.GatewayMessage()]))
            with pytest.raises(aio.AioRpcError, match="UNIMPLEMENTED"):
                await call.read()


async def test_an_operators_commands_need_a_members_certificate(
    made: Members, folder: Path, tmp_path: Path
) -> None:
    async def status(*words: str) -> tuple[int, str]:
        line = ["status", "--control", made.control.address, *words]
        told = await asyncio.to_thread(CliRunner().invoke, blockyard, line)
        return told.exit_code, told.output

    exit_code, output = await status("--internal-tls", str(folder))
    assert exit_code == 0 and "replica" in output, output
    exit_code, output = await status()
    assert exit_code == 1 and "no control plane answers" in output
    exit_code, output = await status("--internal-tls", str(tmp_path / "nowhere"))
    assert exit_code == 2 and "cannot read" in output
