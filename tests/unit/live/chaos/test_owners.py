"""Whose connection it is, whichever family of sockets the caller took."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from orchestrator.live.chaos.owners import owner

CALLER = """
import socket, sys
caller = socket.socket(socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET)
caller.connect(("::ffff:127.0.0.1" if sys.argv[1] == "6" else "127.0.0.1", int(sys.argv[2])))
sys.stdin.read()
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


@pytest.mark.parametrize("family", ["4", "6"])
def test_a_caller_is_known_by_its_socket(listener: socket.socket, family: str) -> None:
    to_port = listener.getsockname()[1]
    command = [sys.executable, "-c", CALLER, family, str(to_port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        accepted, (_, port) = listener.accept()
        with accepted:
            pids = {"other": os.getppid(), "caller": child.pid}
            assert owner(port, to_port, pids) == "caller"
            assert owner(port, to_port + 1, pids) is None, "another connection from that port"
            assert owner(port, to_port, {}) is None
        assert child.stdin is not None
        child.stdin.close()


def test_the_one_who_asks_is_no_member(listener: socket.socket) -> None:
    to_port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", to_port)) as caller, listener.accept()[0]:
        assert owner(caller.getsockname()[1], to_port, {"me": os.getpid()}) is None
