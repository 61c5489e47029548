"""Which of several processes has the other end of a connection on this machine."""

from __future__ import annotations

from collections.abc import Mapping

import psutil


def owner(port: int, pids: Mapping[str, int]) -> str | None:
    """The name whose process has a socket at this local port; None when it is none of them.

    A process that is gone, or that this user may not look into, has none.
    """
    for name, pid in pids.items():
        try:
            connections = psutil.Process(pid).net_connections("tcp")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(connection.laddr and connection.laddr.port == port for connection in connections):
            return name
    return None
