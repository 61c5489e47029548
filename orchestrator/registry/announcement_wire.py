"""Announcements as bytes: several of one gateway in one message, for a channel that all hear.

    version (1), sender (16), then for each announcement:
    lengths of id and hashes (2 + 2), epoch (8), prefill tokens, blocks,
    sequences, settle ms, held (4 each), is it interactive (1), the replica's id,
    the hashes (16 each)

Whoever hears a version that it does not know hears nothing: during an upgrade
gateways of two versions are deaf to each other, and that is all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct, error

from protos.hashing import DIGEST_BYTES, BlockHash
from protos.messages import ReplicaId
from protos.registry import Announcement

VERSION = 2
SENDER_BYTES = 16
_OPENING = Struct(f"!B{SENDER_BYTES}s")
_FIXED = Struct("!HHQIIIII?")


class UnknownMessage(Exception):
    """These bytes are not announcements that we understand."""


def encode(sender: bytes, announcements: Iterable[Announcement]) -> bytes:
    """One message."""
    parts = [_OPENING.pack(VERSION, sender)]
    for told in announcements:
        name = told.replica_id.encode()
        parts.append(
            _FIXED.pack(
                len(name),
                len(told.hashes),
                told.epoch,
                told.prefill_tokens,
                told.blocks,
                told.sequences,
                told.settle_ms,
                told.held,
                told.is_interactive,
            )
        )
        parts.append(name)
        parts.extend(told.hashes)
    return b"".join(parts)


def decode(message: bytes, *, me: bytes) -> tuple[Announcement, ...] | None:
    """What is announced; None where this is what `me` has sent. Raises UnknownMessage only."""
    try:
        version, sender = _OPENING.unpack_from(message)
        if version != VERSION:
            raise UnknownMessage(f"version {version}")
        return None if sender == me else tuple(_announcements(message))
    except (error, UnicodeDecodeError) as cause:
        raise UnknownMessage("cut short, or garbage") from cause


def _announcements(message: bytes) -> Iterator[Announcement]:
    at = _OPENING.size
    while at < len(message):
        length, count, *numbers = _FIXED.unpack_from(message, at)
        name_at = at + _FIXED.size
        hashes_at = name_at + length
        at = hashes_at + count * DIGEST_BYTES
        if at > len(message):
            raise UnknownMessage("cut short")
        epoch, prefill_tokens, blocks, sequences, settle_ms, held, is_interactive = numbers
        yield Announcement(
            replica_id=ReplicaId(message[name_at:hashes_at].decode()),
            epoch=epoch,
            prefill_tokens=prefill_tokens,
            blocks=blocks,
            sequences=sequences,
            is_interactive=bool(is_interactive),
            settle_ms=settle_ms,
            hashes=tuple(
                BlockHash(message[start : start + DIGEST_BYTES])
                for start in range(hashes_at, at, DIGEST_BYTES)
            ),
            held=held,
        )
