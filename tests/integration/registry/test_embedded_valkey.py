"""The embedded Valkey starts, answers, and never outlives whoever started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from itertools import chain
from pathlib import Path

import psutil
import pytest
from redis import Redis

from orchestrator.live import valkey as module
from orchestrator.live.free_ports import free_ports
from orchestrator.live.valkey import EmbeddedValkey
from tests.waiting import wait_for

pytestmark = pytest.mark.redis

BOUND_S = 20.0


def answers(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rsplit(":", 1)[1].split("/")[0]))) == 0


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_it_answers_on_loopback_and_is_gone_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with EmbeddedValkey() as valkey:
        url = valkey.url
        with Redis.from_url(url) as client:
            assert client.ping()
            assert client.config_get("save")["save"] == ""
            assert client.config_get("bind")["bind"] == "127.0.0.1"
        assert list(tmp_path.iterdir())
    assert not answers(url)
    assert not list(tmp_path.iterdir())


def test_two_of_them_do_not_meet() -> None:
    with EmbeddedValkey() as one, EmbeddedValkey() as two:
        assert one.url != two.url


def test_a_port_taken_in_between_costs_one_more_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stranger on the first port is a Valkey too: to answer is not enough."""
    with EmbeddedValkey() as stranger:
        taken = int(stranger.url.rsplit(":", 1)[1].split("/")[0])
        monkeypatch.setattr(module, "free_ports", lambda: chain([taken], free_ports()))
        with EmbeddedValkey() as valkey:
            assert valkey.url != stranger.url
            assert answers(valkey.url)


def test_started_again_it_is_empty_and_where_it_was() -> None:
    with EmbeddedValkey() as valkey:
        url = valkey.url
        with Redis.from_url(url) as client:
            client.set("key", "value")
        os.kill(valkey.pid, signal.SIGKILL)
        valkey.stop()
        valkey.start()
        assert valkey.url == url
        with Redis.from_url(url) as client:
            assert client.dbsize() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's parent-death signal")
def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    starter = (
        "import time; from orchestrator.live.valkey import EmbeddedValkey\n"
        "valkey = EmbeddedValkey(); valkey.start()\n"
        "print(valkey.url, valkey.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as parent:
        assert parent.stdout is not None
        url, pid = parent.stdout.readline().split()
        assert answers(url)
        parent.kill()
    try:
        wait_for(lambda: not is_alive(int(pid)), within_s=BOUND_S, what="its end")
    except AssertionError:
        os.kill(int(pid), signal.SIGKILL)
        raise


def test_without_the_wheel_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"blockyard\[local\]"):
        EmbeddedValkey().start()
