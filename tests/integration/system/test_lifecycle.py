"""Starting and stopping as a person does it: nothing stays behind, mistakes are explained."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from itertools import takewhile
from pathlib import Path

import psutil
import pytest

from replicas.model.tiny import write_tiny
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


@pytest.mark.parametrize(
    ("stop", "stage"),
    [
        (signal.SIGINT, "Ctrl-C"),  # the last line that `up` prints: it serves
        (signal.SIGTERM, "Ctrl-C"),
        (signal.SIGTERM, "loading"),  # Ray runs, the replicas are being built
    ],
    ids=["ctrl-c", "sigterm", "sigterm-while-loading"],
)
def test_stopping_leaves_no_process_no_port_and_no_folder(stop: signal.Signals, stage: str) -> None:
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
    seen = list(takewhile(lambda line: stage not in line, running.stdout))
    assert running.poll() is None, "".join(seen)
    family = psutil.Process(running.pid).children(recursive=True)
    assert any("raylet" in " ".join(p.cmdline()) for p in family)
    running.send_signal(stop)
    running.communicate(timeout=90)
    assert running.returncode == 0
    wait_for(lambda: not psutil.wait_procs(family, 0)[1], within_s=10, what="every process ended")
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert os.listdir(temporary) == []
    os.rmdir(temporary)


def fails_with(command: list[str], temporary: str | None = None) -> str:
    environment = {**os.environ, "TMPDIR": temporary} if temporary else None
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_taken_port_is_named() -> None:
    ports = free_ports(3)
    with socket.create_server(("127.0.0.1", ports[1])):
        assert f"port {ports[1]} is taken" in fails_with(up_command(ports))


def test_an_unreachable_redis_is_named_without_its_password() -> None:
    *ports, nobody = free_ports(4)
    error = fails_with(up_command(ports, "--redis", f"redis://:hunter2@127.0.0.1:{nobody}"))
    assert f"redis://127.0.0.1:{nobody}" in error
    assert "hunter2" not in error


def test_a_missing_model_is_named() -> None:
    assert "/no/such/model" in fails_with(up_command(free_ports(3), "--model", "/no/such/model"))


def test_corrupt_weights_are_named_and_nothing_stays(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(write_tiny(), model)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    temporary = tempfile.mkdtemp(dir="/tmp", prefix="by")
    assert "model.safetensors" in fails_with(
        up_command(free_ports(3), "--model", str(model)), temporary
    )
    assert os.listdir(temporary) == []
    os.rmdir(temporary)
