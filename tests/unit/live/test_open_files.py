"""A gateway takes no more connections than it has files for."""

from __future__ import annotations

import resource

import pytest

from orchestrator.live.open_files import allow_connections, connections_within


@pytest.mark.parametrize(
    ("files", "wanted", "allowed"),
    [(None, 10_000, 10_000), (65_536, 10_000, 10_000), (4096, 10_000, 3096), (1024, 10_000, 512)],
)
def test_files_for_other_things_are_left(files: int | None, wanted: int, allowed: int) -> None:
    assert connections_within(files, wanted) == allowed


def test_the_limit_is_raised_where_it_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        allowed = allow_connections(2000)
        now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert allowed == 2000 or now == hard
        assert allowed < now
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
