"""Bring one file here: go on where it stopped, and let nothing stay that is not what it should be.

The file grows at its end only, so its length says how far it came, whoever
wrote it and however he died. A version of a model has a folder of its own,
so what is gone on with is of the same file. (After a power cut the end of a file may be
lost without a trace in its length: checksums tell.)
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from replicas.delivery.contents import Piece
from replicas.delivery.errors import CacheUnusable, ChecksumMismatch, RemoteUnsound
from replicas.delivery.reading import Reading
from replicas.delivery.store import Store

READ_BYTES = 1 << 20


def transfer(store: Store, piece: Piece, path: Path, tell: Callable[[int], None]) -> None:
    """The file at `path` is whole, checked and on the disk when this returns.

    `tell` hears of every byte that comes. Raises DeliveryError.
    """
    digest = hashlib.sha256()
    try:
        with path.open("a+b", buffering=0) as file:
            here = _digest_beginning(store, file, digest.update)
            with Reading(store, piece.found) as reading:
                while here < piece.bytes_wanted:
                    chunk = reading.read(here, piece.bytes_wanted)
                    _write(file, chunk)
                    digest.update(chunk)
                    here += len(chunk)
                    tell(len(chunk))
            _check(store, piece, path, digest.hexdigest())
            os.truncate(path, piece.found.size)  # a beginning alone: the rest is a hole
            os.fsync(file)
    except OSError as error:
        raise _unusable(path, error) from None


def bytes_here(piece: Piece, path: Path) -> int:
    """How much of it came before. What is longer than it should be is of no use, and removed."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return 0
    if size > piece.bytes_wanted:
        path.unlink()
        return 0
    return size


def _digest_beginning(store: Store, file: IO[bytes], update: Callable[[bytes], None]) -> int:
    file.seek(0)
    here = 0
    while chunk := file.read(READ_BYTES):
        store.check_wanted()
        update(chunk)
        here += len(chunk)
    return here


def _write(file: IO[bytes], chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _check(store: Store, piece: Piece, path: Path, digest: str) -> None:
    if piece.sum is not None:
        if digest != piece.sum:
            path.unlink()
            raise ChecksumMismatch(
                f"{piece.name} of {store.location} is not what SHA256SUMS says: its SHA-256 is "
                f"{digest}, and should be {piece.sum}. It was removed."
            )
    elif store.find(piece.name) != piece.found:
        path.unlink()
        raise RemoteUnsound(
            f"{piece.name} of {store.location} was changed while it was fetched. "
            "What came was removed; try again."
        )


def _unusable(path: Path, error: OSError) -> CacheUnusable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CacheUnusable(
            f"The cache folder is full: {path} cannot grow. Make room and go on; what came stays."
        )
    return CacheUnusable(f"{path} cannot be written: {error.strerror}.")
