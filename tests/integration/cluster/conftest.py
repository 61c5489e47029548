"""One cluster of processes for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.cluster.processes import Processes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    """Two replicas, two gateways, a leader and a standby."""
    with Processes() as processes:
        processes.start(replicas=("a", "b"), gateways=2, control_planes=2)
        yield processes
