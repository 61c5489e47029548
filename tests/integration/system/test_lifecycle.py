"""Starting and stopping as a person does it: nothing stays behind, mistakes are explained."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import psutil
import pytest

from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry
from protos.messages import ModelCard, ReplicaId
from protos.registry import ReplicaRecord
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


Stop = Callable[[int], None]  # ends the command whose process id it is given


def interrupt(pid: int) -> None:
    os.kill(pid, signal.SIGINT)


def terminate(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def terminate_group(pid: int) -> None:
    """As `timeout` and service managers do; Ctrl-C in a terminal signals the group too."""
    os.killpg(pid, signal.SIGTERM)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("stop", "stage", "code"),
    [
        (interrupt, "Ctrl-C", 0),  # the last line that `up` prints: it serves
        (terminate_group, "Ctrl-C", 0),
        (terminate, "loading", 0),  # Ray runs, the replicas are being built
        (terminate_group, "starting Ray", 0),
        (kill, "Ctrl-C", -signal.SIGKILL),
    ],
    ids=["ctrl-c", "group", "while-loading", "group-while-ray-starts", "killed"],
)
def test_stopping_leaves_no_process_no_port_and_no_folder(
    stop: Stop, stage: str, code: int
) -> None:
    ports = free_ports(3)
    temporary = tempfile.mkdtemp(dir="/tmp", prefix="by")  # short: Ray's sockets live below it
    with subprocess.Popen(
        up_command(ports),
        env={**os.environ, "TMPDIR": temporary},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            assert running.stdout is not None
            seen = list(takewhile(lambda line: stage not in line, running.stdout))
            assert running.poll() is None, "".join(seen)
            family = psutil.Process(running.pid).children(recursive=True)
            assert any("valkey" in words for words in map(command_line, family))
            stop(running.pid)
            said, _ = running.communicate(timeout=180)
        finally:
            running.terminate()
    assert running.returncode == code, said
    wait_for(lambda: not psutil.wait_procs(family, 0)[1], within_s=60, what="every process ended")
    wait_for(lambda: not started_with(temporary), within_s=60, what="those that came later, too")
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert os.listdir(temporary) == []
    os.rmdir(temporary)


def started_with(temporary: str) -> list[str]:
    """Command lines of processes with this folder, but for those that write over theirs."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended meanwhile, or is somebody else's
            if process.environ().get("TMPDIR") == temporary:
                found.append(command_line(process))
    return found


def command_line(process: psutil.Process) -> str:
    """Nothing of a process that has ended meanwhile."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


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


def test_a_recording_that_cannot_be_written_is_named_before_anything_starts() -> None:
    error = fails_with(up_command(free_ports(3), "--record", "/nonexistent/placements"))
    assert "cannot record in /nonexistent/placements: No such file or directory" in error


def test_two_services_on_one_port_are_refused_before_anything_starts() -> None:
    port, control = free_ports(2)
    assert "a port each" in fails_with(up_command([port, port, control]))


def test_a_registry_that_serves_another_cluster_is_not_shared() -> None:
    with EmbeddedValkey() as valkey:
        asyncio.run(join(valkey.url))
        error = fails_with(up_command(free_ports(3), "--redis", valkey.url))
    assert "replicas of another cluster (stranger)" in error


async def join(redis_url: str) -> None:
    registry = RedisRegistry.connect(redis_url, RegistryConfig(lease_ms=600_000))
    card = ModelCard("other", "1", "float32", 16, 1024, 300)
    await registry.join(ReplicaRecord(ReplicaId("stranger"), "127.0.0.1:1", card, 8))
    await registry.close()
