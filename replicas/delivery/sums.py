"""SHA256SUMS: what a model's files must be, in the words of `sha256sum`.

The file lies beside the others; `blockyard model sums` writes it, and
`sha256sum --check SHA256SUMS` reads it. It proves that what arrived is what
was uploaded, no more than that: whoever can change the store can change it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from replicas.delivery.errors import RemoteUnsound

SUMS = "SHA256SUMS"
SUMS_BYTES_MAX = 1 << 20
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)")


def read_sums(content: bytes) -> dict[str, str]:
    """The digest of each file that it names. Raises RemoteUnsound."""
    sums: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.rstrip())
        if found is None:
            raise RemoteUnsound(f"Line {number} of {SUMS} is no digest and name.")
        digest, name = found[1].lower(), found[2]
        if sums.setdefault(name, digest) != digest:
            raise RemoteUnsound(f"{SUMS} has two digests of {name}.")
    return sums


def written_sums(files: Iterable[Path]) -> str:
    """What SHA256SUMS says of these files."""
    return "".join(f"{digest_of(path)}  {path.name}\n" for path in sorted(files))


def write_sums(folder: Path, names: Iterable[str]) -> Path:
    """Of these files in the folder; there whole, or not at all."""
    target, draft = folder / SUMS, folder / f".{SUMS}.{os.getpid()}"
    try:
        draft.write_text(written_sums(folder / name for name in names), encoding="utf-8")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def digest_of(path: Path, watch: Callable[[int], None] = lambda _: None) -> str:
    """SHA-256 of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            watch(len(chunk))
    return digest.hexdigest()
