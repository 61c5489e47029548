"""Announcements as bytes: whole on the other side, and never an error but one."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.registry.announcement_wire import UnknownMessage, decode, encode
from protos.hashing import BlockHash
from protos.messages import ReplicaId
from protos.registry import Announcement

ME, OTHER = b"m" * 16, b"o" * 16
NUMBERS = st.integers(0, 2**32 - 1)
ANNOUNCEMENTS = st.builds(
    Announcement,
    replica_id=st.text(max_size=40).map(ReplicaId),
    epoch=st.integers(0, 2**63),
    prefill_tokens=NUMBERS,
    blocks=NUMBERS,
    sequences=NUMBERS,
    is_interactive=st.booleans(),
    settle_ms=NUMBERS,
    hashes=st.lists(st.binary(min_size=16, max_size=16).map(BlockHash), max_size=5).map(tuple),
    held=NUMBERS,
)


@given(st.lists(ANNOUNCEMENTS, max_size=4))
def test_what_is_sent_is_what_is_heard(announcements: list[Announcement]) -> None:
    message = encode(OTHER, announcements)
    assert decode(message, me=ME) == tuple(announcements)
    assert decode(message, me=OTHER) is None


@given(st.lists(ANNOUNCEMENTS, max_size=2), st.integers(0, 200), st.binary(max_size=20))
def test_a_message_that_is_no_such_is_not_understood_and_nothing_worse(
    announcements: list[Announcement], kept: int, tail: bytes
) -> None:
    with suppress(UnknownMessage):
        decode(encode(OTHER, announcements)[:kept] + tail, me=ME)


def test_a_later_version_is_not_understood() -> None:
    message = encode(OTHER, [])
    with pytest.raises(UnknownMessage, match="version 9"):
        decode(bytes([9]) + message[1:], me=ME)


def test_a_message_that_was_cut_is_not_taken_for_a_shorter_one() -> None:
    told = Announcement(ReplicaId("a"), 1, 2, 3, 4, True, 5, (BlockHash(b"h" * 16),))
    with pytest.raises(UnknownMessage):
        decode(encode(OTHER, [told])[:-1], me=ME)
