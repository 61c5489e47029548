"""How many connections this process may have: each is an open file.

A listener without files to spare turns everybody away, whoever holds them. So
the limit is raised as far as the system lets us, and the HTTP door is told to
stop before it.
"""

from __future__ import annotations

import resource

FILES_BESIDE = 1000  # of a gateway: its links, its registry, gRPC's connections, libraries


def open_files_max() -> int | None:
    """The most files that this process may ever open; None: as many as there are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def allow_connections(wanted: int) -> int:
    """Let this process open files for so many; the number that it may have now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + FILES_BESIDE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    most = open_files_max()
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (needed if most is None else min(needed, most), hard)
    )
    return connections_within(most, wanted)


def connections_within(files_max: int | None, wanted: int) -> int:
    """Of so many files, some are for other things, but never more than half."""
    if files_max is None:
        return wanted
    return min(wanted, files_max - min(FILES_BESIDE, files_max // 2))
