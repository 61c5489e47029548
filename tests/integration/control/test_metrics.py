"""A control plane answers Prometheus on a port of its own, whether it leads or stands by."""

from __future__ import annotations

import re

import httpx
import pytest

from orchestrator.live.control_plane import ControlPlaneServer
from orchestrator.registry.memory import MemoryRegistry
from protos.address import CannotListen
from protos.transport import Transport
from tests.integration.control.fleet import QUICK, directory, listening
from tests.ports import free_ports


def server_with_metrics(registry: MemoryRegistry, metrics_port: int) -> ControlPlaneServer:
    return ControlPlaneServer(
        registry,
        host="127.0.0.1",
        port=0,
        advertise_host="127.0.0.1",
        metrics_port=metrics_port,
        transport=Transport(),
        config=QUICK,
    )


async def scraped(port: int) -> str:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.status_code == 200
    return answer.text


async def test_the_leader_shows_its_moves_and_a_standby_only_that_it_does_not_lead() -> None:
    registry = directory()
    first, second = free_ports(2)
    async with (
        listening(server_with_metrics(registry, first)),
        listening(server_with_metrics(registry, second)),
    ):
        leading, standby = await scraped(first), await scraped(second)
    assert "\nblockyard_leader 1.0\n" in leading
    assert 'blockyard_moves_total{outcome="moved",reason="drain"} 0.0' in leading
    assert "\nblockyard_leader 0.0\n" in standby
    assert "blockyard_moves_total{" not in standby
    assert families(standby) == families(leading), "charts find every name at any of them"


def families(exposition: str) -> list[str]:
    return re.findall(r"^# TYPE (\S+)", exposition, re.M)


async def test_a_metrics_port_that_is_taken_is_said() -> None:
    registry = directory()
    (port,) = free_ports(1)
    async with listening(server_with_metrics(registry, port)):
        second = server_with_metrics(registry, port)
        with pytest.raises(CannotListen, match=str(port)):
            await second.start()
        await second.stop()
