"""Which of several processes has the other end of a connection on this machine.

Looking through the sockets of one process takes milliseconds, so the likeliest
come first; whoever asks is one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import psutil


def owner(port: int, pids: Mapping[str, int]) -> str | None:
    """The name whose process has a socket at this local port; None when it is none of them.

    A process that is gone, or that this user may not look into, has none.
    """
    if _has(psutil.Process(), port):
        return None
    for name, pid in pids.items():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _has(psutil.Process(pid), port):
                return name
    return None


def _has(process: psutil.Process, port: int) -> bool:
    # Its own end of a connection, not the far one, which is this process's as well: a proxy's.
    return any(each.laddr and each.laddr.port == port for each in process.net_connections("tcp4"))
