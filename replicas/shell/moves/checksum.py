"""The checksum of a chunk: it travelled whole, and in order."""

from __future__ import annotations

import zlib
from collections.abc import Iterable


def checksum(payloads: Iterable[bytes]) -> int:
    """CRC-32 of all payloads, one after the other."""
    total = 0
    for payload in payloads:
        total = zlib.crc32(payload, total)
    return total
