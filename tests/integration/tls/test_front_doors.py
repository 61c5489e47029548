"""TLS at the two public doors: who is let in, who is not, and certificates that are renewed."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import pytest
import trustme

from orchestrator.gateway.door_tls import CLIENT_AUTHORITY, DoorTls
from orchestrator.load.wire import Access, open_wire
from orchestrator.registry.memory import MemoryRegistry
from protos import inference_pb2, inference_pb2_grpc
from protos.certificates import KEY, BadCertificates
from protos.trust import AUTHORITY, trusting
from tests.integration.gateway.conftest import Served, registry, replica, serving
from tests.integration.gateway.scripted import ScriptedReplica
from tests.integration.tls.authorities import DOOR, write

__all__ = ["registry", "replica"]  # fixtures of the gateway's own tests

OPEN, CLIENTS_ONLY = "open to all", "for known clients"


class Doors:
    """A gateway behind TLS, and those who come to it."""

    def __init__(self, served: Served, folder: Path, signer: trustme.CA) -> None:
        self.served = served
        self.folder = folder
        self.signer = signer
        self.url = f"https://{DOOR}:{served.ports.http}"

    async def http(self, believes: Path) -> int:
        """The status of one request. Raises what httpx does."""
        async with httpx.AsyncClient(verify=trusting(believes), timeout=20) as client:
            return (await client.get(f"{self.url}/v1/models")).status_code

    async def grpc(self, signer: trustme.CA, shown: trustme.LeafCert | None = None) -> int:
        """How many models are listed. Raises what gRPC does."""
        key = chain = None
        if shown is not None:
            key, chain = shown.private_key_pem.bytes(), shown.cert_chain_pems[0].bytes()
        credentials = grpc.ssl_channel_credentials(signer.cert_pem.bytes(), key, chain)
        address = self.served.grpc_address
        async with grpc.aio.secure_channel(address, credentials) as channel:
            return await models(channel)


async def models(channel: grpc.aio.Channel) -> int:
    stub = inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]
    answer = await stub.ListModels(inference_pb2.ListModelsRequest(), timeout=20)
    return len(answer.models)


@asynccontextmanager
async def doors(
    tmp_path: Path,
    replica: ScriptedReplica,
    registry: MemoryRegistry,
    *,
    clients: trustme.CA | None = None,
) -> AsyncIterator[Doors]:
    signer = trustme.CA()
    others = {} if clients is None else {CLIENT_AUTHORITY: clients}
    folder = write(tmp_path / "doors", signer, DOOR, **others)
    async with serving(tmp_path, replica, registry, tls=DoorTls(folder)) as served:
        yield Doors(served, folder, signer)


def believing(tmp_path: Path, signer: trustme.CA, shows: trustme.CA | None = None) -> Path:
    """What a client is given: whom to believe, and perhaps a certificate to show."""
    folder = tmp_path / f"client-{id(signer)}-{id(shows)}"
    if shows is None:
        folder.mkdir(exist_ok=True)
        (folder / AUTHORITY).write_bytes(signer.cert_pem.bytes())
        return folder / AUTHORITY
    return write(folder, shows, "client", **{AUTHORITY: signer})


async def test_a_client_that_believes_the_authority_is_served_at_both_doors(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> None:
    async with doors(tmp_path, replica, registry) as made:
        assert await made.http(believing(tmp_path, made.signer)) == httpx.codes.OK
        assert await made.grpc(made.signer) == 1


async def test_our_load_generator_is_served_too(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> None:
    async with doors(tmp_path, replica, registry) as made:
        access = Access(trust=trusting(believing(tmp_path, made.signer)))
        async with (
            open_wire(access) as wire,
            wire.quick.get(f"{made.url}/v1/models") as one,
            wire.slow.get(f"{made.url}/v1/models") as other,
        ):
            assert (one.status, other.status) == (httpx.codes.OK, httpx.codes.OK)


async def test_a_client_that_believes_another_authority_hangs_up(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> None:
    async with doors(tmp_path, replica, registry) as made:
        stranger = trustme.CA()
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await made.http(believing(tmp_path, stranger))
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await made.grpc(stranger)


@pytest.mark.parametrize("door", [OPEN, CLIENTS_ONLY])
async def test_nothing_is_said_in_the_clear(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry, door: str
) -> None:
    clients = trustme.CA() if door == CLIENTS_ONLY else None
    async with doors(tmp_path, replica, registry, clients=clients) as made:
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.TransportError):
                await client.get(f"{made.served.url}/healthz")
        async with grpc.aio.insecure_channel(made.served.grpc_address) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await models(channel)


async def test_where_a_certificate_is_asked_for_only_its_authoritys_clients_come_in(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> None:
    clients, strangers = trustme.CA(), trustme.CA()
    async with doors(tmp_path, replica, registry, clients=clients) as made:
        known = believing(tmp_path, made.signer, shows=clients)
        assert await made.http(known) == httpx.codes.OK
        assert await made.grpc(made.signer, clients.issue_cert("client")) == 1
        for shows in (None, strangers):
            with pytest.raises(httpx.TransportError):
                await made.http(believing(tmp_path, made.signer, shows=shows))
            shown = None if shows is None else shows.issue_cert("client")
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await made.grpc(made.signer, shown)


async def test_the_authority_that_cert_manager_writes_beside_asks_nobody_for_a_certificate(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> None:
    async with doors(tmp_path, replica, registry) as made:
        (made.folder / AUTHORITY).write_bytes(made.signer.cert_pem.bytes())
        assert not DoorTls(made.folder).asks_clients
        assert await made.http(believing(tmp_path, made.signer)) == httpx.codes.OK


async def test_renewed_certificates_and_authorities_are_used_without_a_restart(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> None:
    """Power: without `handshake.context = ...` the old certificate is shown for ever."""
    clients = trustme.CA()
    async with doors(tmp_path, replica, registry, clients=clients) as made:
        before = believing(tmp_path, made.signer, shows=clients)
        assert await made.http(before) == httpx.codes.OK
        renewed, new_clients = trustme.CA(), trustme.CA()
        write(made.folder, renewed, DOOR, **{CLIENT_AUTHORITY: new_clients})
        assert await made.http(believing(tmp_path, renewed, shows=new_clients)) == httpx.codes.OK
        assert await made.grpc(renewed, new_clients.issue_cert("client")) == 1
        with pytest.raises(httpx.ConnectError):
            await made.http(before)
        with pytest.raises(httpx.TransportError):
            await made.http(believing(tmp_path, renewed, shows=clients))


async def test_a_renewal_that_is_half_written_leaves_the_last_certificate_in_use(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> None:
    async with doors(tmp_path, replica, registry) as made:
        believes = believing(tmp_path, made.signer)
        other = made.signer.issue_cert(DOOR)
        (made.folder / KEY).write_bytes(other.private_key_pem.bytes())
        assert await made.http(believes) == httpx.codes.OK
        assert await made.grpc(made.signer) == 1
        (made.folder / KEY).unlink()
        assert await made.http(believes) == httpx.codes.OK
        assert await made.grpc(made.signer) == 1


async def test_no_door_speaks_a_version_that_is_broken(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> None:
    async with doors(tmp_path, replica, registry) as made:
        old = trusting(believing(tmp_path, made.signer))
        with pytest.warns(DeprecationWarning):
            old.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        async with httpx.AsyncClient(verify=old) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{made.url}/healthz")


def test_a_folder_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadCertificates, match="cannot read"):
        DoorTls(tmp_path)
