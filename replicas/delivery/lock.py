"""One process at a time, of all that share a folder, on this machine or through a network mount.

The kernel holds the lock for an open file, so whoever dies frees it, however
he dies. It is asked for again and again rather than waited for, so that the
one who waits can say so and can stop.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from replicas.delivery.errors import CacheUnusable

TAKEN = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)


@contextmanager
def locked(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Held within. `wait` is called each time somebody else has it; it may raise."""
    with _opened(path) as file:
        while not _try(file):
            wait()
        yield


def try_lock(path: Path) -> IO[bytes] | None:
    """Held until the file is closed; None while somebody else has it."""
    file = _opened(path)
    if _try(file):
        return file
    file.close()
    return None


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("ab")
    except OSError as error:
        raise CacheUnusable(f"{path} cannot be written: {error.strerror}.") from None


def _try(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        raise CacheUnusable(
            f"{file.name} cannot be locked ({error.strerror}); keep the cache on another volume."
        ) from None
    return True
