"""The Redis of a chaos cluster: killed, emptied, or succeeded by its replica.

Each server is an embedded Valkey without a disk, so one that was killed comes
back empty. Commands go as plain words over a socket of their own: they are the
operator's, and too few for a client.
"""

from __future__ import annotations

import signal
import socket
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psutil

from orchestrator.live.chaos.process import is_running
from orchestrator.live.valkey import EmbeddedValkey

ANSWER_S_MAX = 5.0
SYNC_S_MAX = 20.0
POLL_S = 0.02


class RedisFailed(Exception):
    """The server does not answer, or not as it should."""


class ChaosRedis:
    """A context manager; the primary's `port` changes when its replica takes over."""

    def __init__(self) -> None:
        self._primary = EmbeddedValkey()
        self._standby: EmbeddedValkey | None = None

    def __enter__(self) -> Self:
        self._primary.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in (self._primary, self._standby):
            if server is not None:
                end(server)

    @property
    def port(self) -> int:
        return port_of(self._primary)

    @property
    def pid(self) -> int:
        return self._primary.pid

    @property
    def is_alive(self) -> bool:
        return runs(self._primary)

    @property
    def is_stopped(self) -> bool:
        """By a signal: it is there, and answers nobody."""
        return self.is_alive and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def signal(self, number: signal.Signals) -> None:
        if self.is_alive:
            psutil.Process(self.pid).send_signal(number)

    def kill(self) -> None:
        """With SIGKILL, and with all that it knew."""
        self.signal(signal.SIGKILL)
        while self.is_alive:
            time.sleep(POLL_S)

    def revive(self) -> None:
        """Start the one that was killed again, empty; nothing where another took its place."""
        if not self.is_alive:
            end(self._primary)
            self._primary.start()

    def flush(self) -> None:
        command(self.port, "FLUSHALL")

    def add_standby(self) -> None:
        """A second server that repeats the first; returns when it has all that the first has."""
        if self._standby is not None:
            return
        self._standby = EmbeddedValkey()
        self._standby.start()
        port = port_of(self._standby)
        command(port, f"REPLICAOF 127.0.0.1 {self.port}")
        deadline = time.monotonic() + SYNC_S_MAX
        while "master_link_status:up" not in command(port, "INFO replication"):
            if time.monotonic() > deadline:
                raise RedisFailed(f"the standby has not caught up within {SYNC_S_MAX:.0f} s")
            time.sleep(POLL_S)

    def fail_over(self) -> None:
        """Kill the primary; its standby is the primary from now on, with what it had heard.

        Without a standby and with nobody to copy from, its successor begins with nothing.
        """
        if self._standby is None and self.is_alive and not self.is_stopped:
            self.add_standby()
        self.kill()
        if self._standby is None:
            self.revive()
            return
        end(self._primary)
        self._primary, self._standby = self._standby, None
        command(self.port, "REPLICAOF NO ONE")


def port_of(server: EmbeddedValkey) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port


def runs(server: EmbeddedValkey) -> bool:
    try:
        return is_running(psutil.Process(server.pid))
    except psutil.NoSuchProcess:
        return False


def end(server: EmbeddedValkey) -> None:
    """Also one that is stopped by a signal."""
    if runs(server):
        psutil.Process(server.pid).send_signal(signal.SIGCONT)
    server.stop()


def command(port: int, words: str) -> str:
    """The server's answer. RedisFailed where it is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S_MAX) as connection:
            connection.sendall(f"{words}\r\nQUIT\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    except OSError as error:
        raise RedisFailed(f"no Redis answers at port {port}: {error}") from error
    if answer.startswith("-"):
        raise RedisFailed(f"{words}: {answer.splitlines()[0]}")
    return answer
