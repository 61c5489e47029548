"""One cluster for all who hurt one: starting it takes longer than most of what is done to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.chaos.scenario import Shape
from orchestrator.live.chaos.loop_thread import LoopThread
from orchestrator.live.chaos.processes import Processes
from tests.integration.chaos.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """With a cluster once one was asked for."""
    logs = tmp_path_factory.mktemp("chaos")
    with LoopThread("clients") as clients, World("tiny", logs, clients) as local:
        yield local


@pytest.fixture
def cluster(world: World) -> Processes:
    """Two of each kind, who know each other."""
    world.start(Shape(), print)
    return world.cluster
