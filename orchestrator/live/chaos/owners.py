"""Which of several processes has the other end of a connection on this machine.

Looking through the sockets of one process takes milliseconds, so the likeliest
come first; whoever asks is one of them. gRPC speaks IPv4 through sockets of
IPv6, so both tables are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import psutil


def owner(port: int, to_port: int, pids: Mapping[str, int]) -> str | None:
    """The name whose process has connected this local port to that one; None: none of them.

    Two sockets may share a local port while they lead to different ones. A
    process that is gone, or that this user may not look into, has none.
    """
    if _has(psutil.Process(), port, to_port):
        return None
    for name, pid in pids.items():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _has(psutil.Process(pid), port, to_port):
                return name
    return None


def _has(process: psutil.Process, port: int, to_port: int) -> bool:
    return any(
        each.laddr and each.raddr and (each.laddr.port, each.raddr.port) == (port, to_port)
        for each in process.net_connections("tcp")
    )
