"""Free ports for servers that must be told theirs.

None of those that the kernel gives to whoever asks for any: Ray's dozen of
processes would have taken it before the server listens.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

PORTS = range(10_000, 30_000)
TRIES = 100


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago, all different."""
    with ExitStack() as held:
        ports: list[int] = []
        for port in random.SystemRandom().sample(PORTS, TRIES):
            if len(ports) < count and is_bound(held.enter_context(socket.socket()), port):
                ports.append(port)
        assert len(ports) == count, "nearly all ports are taken"
        return ports


def is_bound(probe: socket.socket, port: int) -> bool:
    """Take the port until the probe is closed; whether it could be had."""
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
