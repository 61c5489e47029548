"""Ports for servers that must be told theirs.

A system gives ports of its own choice to whoever connects somewhere, and one
of those would be somebody's before the server listens. So these are from below
that range, and drawn, since others on this machine look for some, too.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)  # below those that Linux, macOS and Windows give to callers


def free_ports() -> Iterator[int]:
    """Each was free a moment ago, and none comes twice: a server that is down finds its own."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if is_free(port):
            yield port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
