from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.gateway.caller import ANYBODY, Caller
from orchestrator.gateway.errors import Unauthenticated
from orchestrator.gateway.keyring import Entry, Keyring, Keys, key_digest, presented_key
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.live.clock import OsClock

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ACME, OTHER = Caller("acme-1", "acme"), Caller("other-1", "other")


def entry(key: str, caller: Caller = ACME, expires: datetime | None = None) -> Entry:
    return Entry(key_digest(key), caller, expires)


def test_a_key_is_its_callers_and_nobody_elses() -> None:
    ring = Keyring([entry("a"), entry("b", OTHER)])
    assert ring.caller("a", NOW) == ACME
    assert ring.caller("b", NOW) == OTHER
    for wrong in ("", "c", "A", "a ", key_digest("a").hex()):
        with pytest.raises(Unauthenticated):
            ring.caller(wrong, NOW)


def test_all_of_a_digest_must_agree() -> None:
    """Power: without the comparison, the handle alone would do."""
    digest = key_digest("a")
    near = Entry(digest[:-1] + bytes([digest[-1] ^ 1]), ACME)
    with pytest.raises(Unauthenticated):
        Keyring([near]).caller("a", NOW)


def test_a_key_expires_at_its_second() -> None:
    ring = Keyring([entry("a", expires=NOW)])
    assert ring.caller("a", NOW - timedelta(microseconds=1)) == ACME
    with pytest.raises(Unauthenticated, match="expired"):
        ring.caller("a", NOW)


def test_two_entries_may_share_neither_key_nor_name() -> None:
    with pytest.raises(ValueError, match="sha256"):
        Keyring([entry("a"), entry("a", OTHER)])
    with pytest.raises(ValueError, match="name"):
        Keyring([entry("a"), entry("b")])


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer k"}, "k"),
        ({"authorization": "BEARER  k "}, "k"),
        ({"x-api-key": "k"}, "k"),
        ({"authorization": "Basic abc", "x-api-key": "k"}, "k"),
        ({"authorization": "Bearer k", "x-api-key": "other"}, "k"),
    ],
)
def test_a_key_may_be_shown_in_two_ways(headers: dict[str, str], key: str) -> None:
    assert presented_key(headers) == key


def test_no_error_repeats_a_key() -> None:
    with pytest.raises(Unauthenticated) as caught:
        Keyring([]).caller("by-secret", NOW)
    assert "secret" not in caught.value.message


def test_without_a_keyring_everybody_is_anybody_and_with_an_empty_one_nobody_comes_in() -> None:
    keys = Keys(RateLimits(RateCounts(OsClock())))
    assert keys.admit({}, NOW) is ANYBODY
    keys.keyring = Keyring([])
    with pytest.raises(Unauthenticated):
        keys.admit({"x-api-key": "k"}, NOW)
    assert keys.refusals == 1
