"""Starting and stopping as a person does it: nothing stays behind, mistakes are explained."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.ports import free_ports
from tests.waiting import wait_for

pytestmark = pytest.mark.ray


def up_command(ports: list[int], *more: str) -> list[str]:
    options = zip(("--http-port", "--grpc-port", "--control-port"), map(str, ports), strict=True)
    return [
        *(sys.executable, "-m", "orchestrator", "up", "--model", "tiny", "--replicas", "1"),
        *(word for option in options for word in option),
        *("--blocks", "64"),
        *more,
    ]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_stopping_leaves_no_process_no_port_and_no_folder(
    stop: signal.Signals, tmp_path: Path
) -> None:
    ports = free_ports(3)
    temporary = tempfile.mkdtemp(dir="/tmp", prefix="by")  # short: Ray's sockets live below it
    running = subprocess.Popen(
        up_command(ports),
        env={**os.environ, "TMPDIR": temporary},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdout is not None
    lines = []
    for line in running.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    assert running.poll() is None, "".join(lines)
    family = psutil.Process(running.pid).children(recursive=True)
    assert any("ServeReplica" in " ".join(p.cmdline()) for p in family)
    running.send_signal(stop)
    running.communicate(timeout=60)
    assert running.returncode == 0
    wait_for(lambda: not psutil.wait_procs(family, 0)[1], within_s=10, what="every process ended")
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert os.listdir(temporary) == []
    os.rmdir(temporary)


def fails_with(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_taken_port_is_named() -> None:
    ports = free_ports(3)
    with socket.create_server(("127.0.0.1", ports[1])):
        assert f"port {ports[1]} is taken" in fails_with(up_command(ports))


def test_an_unreachable_redis_is_named() -> None:
    *ports, nobody = free_ports(4)
    url = f"redis://127.0.0.1:{nobody}"
    assert url in fails_with(up_command(ports, "--redis", url))


def test_a_missing_model_is_named() -> None:
    assert "/no/such/model" in fails_with(up_command(free_ports(3), "--model", "/no/such/model"))


def test_corrupt_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{not json")
    assert "config.json" in fails_with(up_command(free_ports(3), "--model", str(tmp_path)))
