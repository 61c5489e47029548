"""The keys that open the doors, as their digests, and whom each belongs to.

A key is 256 random bits, so one fast SHA-256 is all the protection that its
digest needs: a slow hash exists for passwords, which can be guessed. Entries
are found by the first bytes of the digest and then compared whole, in a time
that does not depend on where they differ. Expiry is checked at every call.

A keyring never changes; keys_file.py replaces it when its file does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest

from orchestrator.gateway.caller import ANYBODY, Caller
from orchestrator.gateway.errors import Unauthenticated
from orchestrator.gateway.meter import RateLimits

BEARER = "bearer "
_HANDLE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One key, without the key."""

    digest: bytes
    caller: Caller
    expires: datetime | None = None

    @property
    def handle(self) -> bytes:
        """By which it is found."""
        return self.digest[:_HANDLE_BYTES]


class Keyring:
    """Who may come in. ValueError where two entries are for one key, or of one name."""

    def __init__(self, entries: Iterable[Entry], *, metrics_are_open: bool = False) -> None:
        self.entries = tuple(entries)
        self.metrics_are_open = metrics_are_open
        self._by_handle = {entry.handle: entry for entry in self.entries}
        if len(self._by_handle) < len(self.entries):
            raise ValueError("two entries have the same sha256")
        if len({entry.caller.name for entry in self.entries}) < len(self.entries):
            raise ValueError("two entries have the same name")

    def caller(self, key: str, now: datetime) -> Caller:
        """Whose key this is. Raises Unauthenticated, in the same words for every wrong key."""
        digest = key_digest(key)
        entry = self._by_handle.get(digest[:_HANDLE_BYTES])
        if entry is None or not compare_digest(entry.digest, digest):
            raise Unauthenticated("this API key is not known here")
        if entry.expires is not None and entry.expires <= now:
            raise Unauthenticated("this API key has expired")
        return entry.caller


class Keys:
    """The keyring of the moment and what its keys have used; with none, everybody comes in."""

    def __init__(self, limits: RateLimits, keyring: Keyring | None = None) -> None:
        self.limits = limits
        self.keyring = keyring
        self.refusals = 0

    @property
    def metrics_are_open(self) -> bool:
        return self.keyring is None or self.keyring.metrics_are_open

    def admit(self, headers: Mapping[str, str], now: datetime) -> Caller:
        """Who calls, by HTTP headers or gRPC metadata, lower-case. Raises Unauthenticated."""
        if self.keyring is None:
            return ANYBODY
        try:
            return self.keyring.caller(presented_key(headers), now)
        except Unauthenticated:
            self.refusals += 1
            raise


def key_digest(key: str) -> bytes:
    """What the keys file has of a key."""
    return sha256(key.encode()).digest()


def presented_key(headers: Mapping[str, str]) -> str:
    """`Authorization: Bearer KEY`, or `x-api-key: KEY`. Raises Unauthenticated without one."""
    authorization = headers.get("authorization", "")
    if authorization[: len(BEARER)].lower() == BEARER:
        return authorization[len(BEARER) :].strip()
    key = headers.get("x-api-key")
    if key is None:
        raise Unauthenticated(
            "an API key is needed: send it as 'Authorization: Bearer KEY', or as x-api-key"
        )
    return key.strip()
