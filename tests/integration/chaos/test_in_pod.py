"""The scripts that pause and slow a process undo themselves, also when they are ended early.

Tried on a process of the test's own name: whatever Serve runs on this machine
is nobody's business here.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from orchestrator.live.chaos import in_pod
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(
    shutil.which("pkill") is None or shutil.which("bash") is None, reason="no pkill (procps)"
)


@dataclass(frozen=True, slots=True)
class Victim:
    """A process that a script finds by its name."""

    name: str
    process: psutil.Process

    def shell(self, script: str) -> subprocess.Popen[bytes]:
        """The script, aimed at this process instead of Serve's."""
        assert "^ray::ServeReplica:" in script
        aimed = script.replace("^ray::ServeReplica:", f"^{self.name}")
        return subprocess.Popen(["sh", "-c", aimed])

    def is_stopped(self) -> bool:
        return bool(self.process.status() == psutil.STATUS_STOPPED)


@pytest.fixture
def victim() -> Iterator[Victim]:
    name = f"victim-{secrets.token_hex(8)}"
    popen = subprocess.Popen(["bash", "-c", f"exec -a {name} sleep 600"])
    process = psutil.Process(popen.pid)
    wait_for(lambda: process.cmdline()[:1] == [name], within_s=60, what="its name")
    yield Victim(name, process)
    popen.kill()
    popen.wait()


def test_a_killed_process_is_gone(victim: Victim) -> None:
    assert victim.shell(in_pod.kill()).wait(60) == 0
    assert victim.process.wait(60) is not None


def test_a_paused_process_goes_on_by_itself(victim: Victim) -> None:
    script = victim.shell(in_pod.pause(3.0))
    wait_for(victim.is_stopped, within_s=60, what="a process that stands still")
    assert script.wait(60) == 0
    wait_for(lambda: not victim.is_stopped(), within_s=60, what="a process that goes on")


def test_a_script_that_is_ended_early_leaves_nobody_paused(victim: Victim) -> None:
    script = victim.shell(in_pod.pause(60.0))
    wait_for(victim.is_stopped, within_s=60, what="a process that stands still")
    for child in psutil.Process(script.pid).children():
        child.kill()  # its sleep: a shell hears a signal when its child has ended
    script.send_signal(signal.SIGTERM)
    script.wait(60)
    wait_for(lambda: not victim.is_stopped(), within_s=60, what="a process that goes on")


def test_a_slow_process_stands_still_again_and_again(victim: Victim) -> None:
    script = victim.shell(in_pod.slow(4.0, 600.0))
    for _ in range(2):
        wait_for(victim.is_stopped, within_s=60, what="a process that stands still")
        wait_for(lambda: not victim.is_stopped(), within_s=60, what="a process that goes on")
    script.send_signal(signal.SIGTERM)
    script.wait(60)
    wait_for(lambda: not victim.is_stopped(), within_s=60, what="a process that goes on")


def test_a_slow_process_is_as_fast_as_before_by_itself(victim: Victim) -> None:
    assert victim.shell(in_pod.slow(4.0, 1.0)).wait(60) == 0
    wait_for(lambda: not victim.is_stopped(), within_s=60, what="a process that goes on")
