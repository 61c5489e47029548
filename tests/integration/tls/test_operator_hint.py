"""An operator without a certificate hears what is missing, not only that nobody answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner
from grpc import aio

from orchestrator.__main__ import blockyard
from orchestrator.live import operator_client
from orchestrator.live.control_door import ControlDoor
from protos.transport import Transport
from tests.ports import free_ports


async def test_members_who_hang_up_on_words_in_the_clear_may_speak_tls(tmp_path: Path) -> None:
    assert CliRunner().invoke(blockyard, ["certs", "--out", str(tmp_path / "made")]).exit_code == 0
    server = aio.server()
    port = Transport(tmp_path / "made" / "internal").bind(server, "127.0.0.1:0")
    await server.start()
    door = ControlDoor(f"127.0.0.1:{port}", Transport())
    try:
        with pytest.raises(ConnectionError, match="BLOCKYARD_INTERNAL_TLS"):
            await asyncio.to_thread(operator_client.fleet, door)
    finally:
        await server.stop(None)


def test_nobody_there_is_no_matter_of_certificates() -> None:
    (port,) = free_ports(1)
    with pytest.raises(ConnectionError) as raised:
        operator_client.fleet(ControlDoor(f"127.0.0.1:{port}", Transport()))
    assert "BLOCKYARD_INTERNAL_TLS" not in str(raised.value)
