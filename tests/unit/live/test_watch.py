"""A watch outlives the leader that it began with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.live.commands import watch
from orchestrator.live.operator_client import FleetState

EMPTY = FleetState((), ())


def test_a_watch_goes_on_with_the_next_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "RETRY_S", 0.0)
    calls = iter(("dies", "nobody", "lives"))

    def states() -> Iterator[FleetState]:
        call = next(calls)
        if call != "nobody":
            yield EMPTY
        if call != "lives":
            raise ConnectionError(call)
        raise KeyboardInterrupt

    seen: list[FleetState] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(watch.patiently(states))
    assert list(calls) == []


def test_a_watch_that_never_began_says_so_at_once() -> None:
    def nobody() -> Iterator[FleetState]:
        raise ConnectionError("nobody leads")
        yield EMPTY

    with pytest.raises(ConnectionError):
        next(watch.patiently(nobody))


def test_a_watch_ends_when_nobody_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "RETRY_S", 0.0)
    monkeypatch.setattr(watch, "TAKEOVER_S_MAX", 0.05)
    calls = iter([True])

    def once() -> Iterator[FleetState]:
        if next(calls, False):
            yield EMPTY
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        list(watch.patiently(once))
