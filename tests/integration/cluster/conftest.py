"""One cluster of processes for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.cluster.watched import Watched


@pytest.fixture(scope="module")
def cluster() -> Iterator[Watched]:
    """Two replicas, two gateways, a leader and a standby."""
    with Watched() as processes:
        processes.start(replicas=("a", "b"), gateways=2, control_planes=2)
        yield processes
