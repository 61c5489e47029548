"""What makes two requests the same: the proof with which a running one is adopted."""

from __future__ import annotations

import struct
from hashlib import blake2b

from protos.hashing import DIGEST_BYTES, token_bytes
from protos.messages import Request


def request_digest(request: Request) -> bytes:
    """Digest of all that its tokens depend on: prompt, sampling and salt.

    Not of its id, its class or how far it is. Whoever wants to go on with a
    sequence shows that he asked the same, so that knowing an id is not enough.
    """
    digest = blake2b(digest_size=DIGEST_BYTES)
    for part in (token_bytes(request.prompt), repr(request.sampling).encode(), request.salt):
        digest.update(struct.pack("<Q", len(part)))
        digest.update(part)
    return digest.digest()
