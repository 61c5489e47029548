"""Two control planes as processes, with a real registry: the leader is killed, stopped, paused."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.live.registry_url import leader_at
from orchestrator.live.valkey import EmbeddedValkey
from protos.registry import Leader
from tests.ports import free_ports
from tests.waiting import wait_for

pytestmark = pytest.mark.redis

SERVICE = "blockyard.control.v1.ControlPlane"
WITHIN_S = 60.0  # a lease and a renewal are four; a slow machine is no failure


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as valkey:
        yield valkey


class ControlPlane:
    """One process of `blockyard control-plane`, which answers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.address = process.stdout.readline().strip()

    def leads(self) -> bool:
        with grpc.insecure_channel(self.address) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=SERVICE), timeout=WITHIN_S
            )
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@contextmanager
def control_plane(valkey: EmbeddedValkey) -> Iterator[ControlPlane]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "orchestrator", "control-plane", "--redis", valkey.url]
    with subprocess.Popen(
        [*command, "--control-port", str(port)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield ControlPlane(process)
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.communicate(timeout=WITHIN_S)


def in_order(
    valkey: EmbeddedValkey, one: ControlPlane, other: ControlPlane
) -> tuple[Leader, ControlPlane, ControlPlane] | None:
    """Who leads by the registry's word and its own, and who stands by; None in between.

    The first one does, unless it was too slow for its lease.
    """
    known = asyncio.run(leader_at(valkey.url))
    for leader, standby in ((one, other), (other, one)):
        if known is None or known.address != leader.address:
            continue
        if leader.leads() and not standby.leads():
            return known, leader, standby
    return None


def leader_other_than(valkey: EmbeddedValkey, former: Leader) -> Leader:
    def other() -> Leader | None:
        leader = asyncio.run(leader_at(valkey.url))
        return leader if leader is not None and leader.address != former.address else None

    return wait_for(other, within_s=WITHIN_S, what="another leader")


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_the_standby_takes_over_under_a_greater_term(
    valkey: EmbeddedValkey, ending: signal.Signals
) -> None:
    with control_plane(valkey) as one, control_plane(valkey) as other:
        former, first, standby = wait_for(
            lambda: in_order(valkey, one, other), within_s=WITHIN_S, what="one leads"
        )
        first.process.send_signal(ending)
        leader = leader_other_than(valkey, former)
        assert leader.address == standby.address
        assert leader.term > former.term
        wait_for(standby.leads, within_s=WITHIN_S, what="the standby shows that it leads")
        if ending is signal.SIGSTOP:
            first.process.send_signal(signal.SIGCONT)
            wait_for(
                lambda: standby.leads() and not first.leads(),
                within_s=WITHIN_S,
                what="the one that slept follows",
            )
