"""`drain-pod` asks Ray to drain this node and stays until nothing of Serve is left.

Ray and the process list are stand-ins on the PATH: a log of calls, and a file
that lists processes.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.tools import DEPLOY

SCRIPT = DEPLOY / "docker" / "drain-pod"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A folder of stand-ins: `ray` logs, `pgrep` finds what it is told, `sleep` moves the clock."""
    put(tmp_path, "ray", 'echo "$@" >> calls')
    put(tmp_path, "timeout", 'echo "$1" > limit; shift; exec "$@"')
    put(tmp_path, "sleep", 'echo slept >> sleeps; echo "$1" >> seconds')
    put(tmp_path, "date", "touch seconds; echo $((1700000000 + $(paste -sd+ seconds) + 0))")
    return tmp_path


def put(node: Path, name: str, body: str) -> None:
    (node / name).write_text(f"#!/bin/sh\ncd {node}\n{body}\n")
    (node / name).chmod(0o755)


def drain(node: Path, seconds: str = "150") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{node}:{os.environ['PATH']}", "DRAIN_SECONDS": seconds}
    return subprocess.run(
        ["sh", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False
    )


def slept(node: Path) -> int:
    path = node / "sleeps"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_ray_is_told_with_the_deadline_of_the_pod(node: Path) -> None:
    put(node, "pgrep", "exit 1")
    assert drain(node).returncode == 0
    call = (node / "calls").read_text()
    assert call.startswith("drain-node --reason DRAIN_NODE_REASON_PREEMPTION")
    assert "--deadline-remaining-seconds 150" in call
    assert slept(node) == 0


def test_the_pod_stays_while_an_actor_of_serve_is_left(node: Path) -> None:
    put(node, "pgrep", 'echo "$2" > pattern; echo p >> polls; [ "$(wc -l < polls)" -le 3 ]')
    assert drain(node).returncode == 0
    assert slept(node) == 3
    assert (node / "pattern").read_text() == "^ray::ServeReplica:\n"


def test_the_pod_does_not_wait_longer_than_it_may(node: Path) -> None:
    put(node, "pgrep", "exit 0")
    assert drain(node, "5").returncode == 0
    assert slept(node) == 5


def test_what_asking_ray_takes_is_part_of_the_time(node: Path) -> None:
    put(node, "ray", "echo 4 >> seconds")
    put(node, "pgrep", "exit 0")
    assert drain(node, "6").returncode == 0
    assert slept(node) == 2
    assert int((node / "limit").read_text()) < 150, "asked for no longer than the pod may take"


def test_a_ray_that_does_not_answer_is_no_reason_to_cut_what_runs(node: Path) -> None:
    put(node, "ray", "exit 1")
    put(node, "pgrep", 'echo p >> polls; [ "$(wc -l < polls)" -le 2 ]')
    verdict = drain(node)
    assert verdict.returncode == 0
    assert "did not take the drain" in verdict.stderr
    assert slept(node) == 2


def test_a_pod_that_does_not_say_how_long_is_an_error(node: Path) -> None:
    put(node, "pgrep", "exit 1")
    assert drain(node, "").returncode != 0
