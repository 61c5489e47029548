"""Folders of certificates as cert-manager would write them, by authorities of the test's own."""

from __future__ import annotations

from pathlib import Path

import trustme

from protos.certificates import CHAIN, KEY
from protos.transport import AUTHORITY, MEMBER

DOOR = "127.0.0.1"


def write(folder: Path, signer: trustme.CA, *names: str, **others: trustme.CA) -> Path:
    """A certificate for these names; `others` are authorities to be written beside, by file."""
    folder.mkdir(exist_ok=True)
    issued = signer.issue_cert(*names)
    (folder / CHAIN).write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    (folder / KEY).write_bytes(issued.private_key_pem.bytes())
    for file, authority in others.items():
        (folder / file).write_bytes(authority.cert_pem.bytes())
    return folder


def member(
    folder: Path, signer: trustme.CA, *, believes: trustme.CA | None = None, name: str = MEMBER
) -> Path:
    """What a member is given: its own certificate, and whom to believe."""
    return write(folder, signer, name, **{AUTHORITY: believes or signer})
