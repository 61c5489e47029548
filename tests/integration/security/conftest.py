"""A gateway whose doors need keys, over the scripted replica of the gateway's own tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.integration.gateway.conftest import registry, replica

__all__ = ["registry", "replica"]


@pytest.fixture
def within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a gateway counts by itself; else a test may begin in one and end in the next."""
    clock = SimpleNamespace(time=lambda: 3630.0)  # in the middle of one
    monkeypatch.setattr("limits.aio.storage.memory.time", clock)
