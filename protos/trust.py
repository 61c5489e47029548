"""What a client of the front doors believes, where it is not what the system believes."""

from __future__ import annotations

import ssl
from pathlib import Path

from protos.certificates import CHAIN, KEY, BadCertificates

AUTHORITY = "ca.crt"


def trusting(path: Path) -> ssl.SSLContext:
    """Believe the authority in this file, and no other.

    A folder has it as `ca.crt`, and may have a certificate to show at doors that
    ask for one. Raises BadCertificates.
    """
    authority = path / AUTHORITY if path.is_dir() else path
    try:
        context = ssl.create_default_context(cafile=str(authority))
        if (path / CHAIN).exists():
            context.load_cert_chain(path / CHAIN, path / KEY)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificates(f"cannot trust {path}: {error.strerror or error}") from error
    return context
