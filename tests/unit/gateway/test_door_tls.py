"""Who was let in by a certificate is asked for it again, at every handshake."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from orchestrator.gateway.door_tls import CLIENT_AUTHORITY, DoorTls
from tests.integration.tls.authorities import DOOR, write

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"here")
    await writer.drain()
    writer.close()


def is_resumed(port: int, context: ssl.SSLContext) -> bool:
    """Whether a second connection may go on with the session of a first one."""
    session: ssl.SSLSession | None = None
    for _ in range(2):
        with (
            socket.create_connection((DOOR, port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=DOOR, session=session) as spoken,
        ):
            spoken.sendall(b"who is there?\n")
            while spoken.recv(4096):
                pass
            session, was_resumed = spoken.session, bool(spoken.session_reused)
    return was_resumed


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("asks", [False, True])
async def test_a_session_is_resumed_only_where_nobody_is_asked_who_he_is(
    tmp_path: Path, asks: bool, version: ssl.TLSVersion
) -> None:
    """Its certificate may be one of an authority that is not believed any more."""
    signer, clients = trustme.CA(), trustme.CA()
    others = {CLIENT_AUTHORITY: clients} if asks else {}
    door = DoorTls(write(tmp_path / "doors", signer, DOOR, **others))
    context = ssl.create_default_context(cadata=signer.cert_pem.bytes().decode())
    clients.issue_cert("client").configure_cert(context)
    context.maximum_version = version
    server = await asyncio.start_server(answer, DOOR, 0, ssl=door.http_context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        if asks and version is ssl.TLSVersion.TLSv1_2:
            with pytest.raises(ssl.SSLError):  # that version cannot promise it
                await asyncio.to_thread(is_resumed, port, context)
        else:
            assert await asyncio.to_thread(is_resumed, port, context) is not asks
