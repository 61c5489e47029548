"""The doctor says of ports what `up` would refuse."""

from __future__ import annotations

import socket
from pathlib import Path

from orchestrator.live.doctor.finding import Level
from orchestrator.live.doctor.ports import check_ports
from orchestrator.live.doctor.subject import Subject, validated
from tests.ports import free_ports


def subject(http: int, grpc: int, control: int, config: Path | None = None) -> Subject:
    ports = {"http_port": http, "grpc_port": grpc, "control_port": control}
    return Subject(validated({"redis_url": "env:REGISTRY", **ports}), config=config)


def test_three_free_ports_are_well() -> None:
    http, grpc, control = free_ports(3)
    (finding,) = check_ports(subject(http, grpc, control))
    assert finding.level is Level.OK


def test_two_doors_cannot_share_a_port() -> None:
    one, two = free_ports(2)
    (finding,) = check_ports(subject(one, two, one))
    assert finding.level is Level.UNSAFE
    assert "--http-port and --control-port" in finding.message


def test_a_port_of_another_process_is_said_with_the_option_that_changes_it() -> None:
    http, control = free_ports(2)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        (finding,) = check_ports(subject(http, taken, control))
        assert finding.level is Level.UNSAFE
        assert str(taken) in finding.message
        assert "--grpc-port" in finding.remedy
        elsewhere = subject(http, taken, control, config=Path("serve.yaml"))
        assert not list(check_ports(elsewhere)), "a file's ports are of other machines"
