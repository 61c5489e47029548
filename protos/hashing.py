"""The name of a full block: a digest chained to its parent's.

Two blocks have the same name exactly when every token up to and including
theirs is the same and both were computed in the same scope: the same model,
revision, dtype, block size and cache salt. The name of a block therefore
says "this prefix", and a lookup by name needs no tree.

Theory: h(-1) = H(scope), h(i) = H(h(i-1) || tokens of block i), with H =
BLAKE2b-128 over explicit little-endian bytes, so that the digest is the same
in every process, on every machine and under every PYTHONHASHSEED. Only full
blocks have a name: a block that can still be written to has no fixed content.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import NewType

BlockHash = NewType("BlockHash", bytes)

# 16 bytes: half the registry's memory of a 32-byte digest. A hit is confirmed
# by the tokens themselves in the engine, so a collision costs a miss.
DIGEST_BYTES = 16
TOKEN_BYTES = 4
# C's unsigned int, which is 4 bytes wherever CPython runs: several times as fast as struct.
_UINT32 = "I"
assert array(_UINT32).itemsize == TOKEN_BYTES, "unsigned int is not 32 bits wide here"


def scope_hash(fields: Sequence[str], salt: bytes = b"") -> BlockHash:
    """Root of a chain. `fields` name the model's KV layout (see ModelCard.scope).

    Every field is length-prefixed, so no two scopes share an encoding; the
    salt separates tenants that must not see each other's prefixes.
    """
    digest = blake2b(digest_size=DIGEST_BYTES)
    for part in (*(field.encode() for field in fields), salt):
        digest.update(struct.pack("<I", len(part)))
        digest.update(part)
    return BlockHash(digest.digest())


def block_hash(parent: BlockHash, tokens: Sequence[int]) -> BlockHash:
    """Name of the full block holding `tokens` after the block named `parent`."""
    return _name(parent, token_bytes(tokens))


def block_hashes(
    tokens: Sequence[int], *, block_size: int, root: BlockHash
) -> tuple[BlockHash, ...]:
    """Names of all full blocks of `tokens`; a partial last block has none."""
    chain: list[BlockHash] = []
    parent = root
    encoded = token_bytes(tokens)
    size = block_size * TOKEN_BYTES
    for start in range(0, len(encoded) - size + 1, size):
        parent = _name(parent, encoded[start : start + size])
        chain.append(parent)
    return tuple(chain)


def token_bytes(tokens: Sequence[int]) -> bytes:
    """The tokens as they are hashed: unsigned, 32 bits, little-endian. OverflowError beyond."""
    encoded = array(_UINT32, tokens)
    if sys.byteorder == "big":
        encoded.byteswap()
    return encoded.tobytes()


def _name(parent: BlockHash, encoded: bytes) -> BlockHash:
    return BlockHash(blake2b(parent + encoded, digest_size=DIGEST_BYTES).digest())


def reusable_blocks(prompt_tokens: int, *, block_size: int) -> int:
    """Most leading blocks that a prompt may take from a cache.

    The last prompt token is always computed: its logits choose the first
    token of the completion.
    """
    return max(0, prompt_tokens - 1) // block_size
