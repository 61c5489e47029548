"""Scenarios on real processes: three that must pass, and what a verdict must not let pass."""

from __future__ import annotations

import pytest

from orchestrator.chaos.compare import Difference
from orchestrator.chaos.library import load
from orchestrator.chaos.stretch import lasting
from orchestrator.live.chaos.leaks import leaks
from orchestrator.live.chaos.processes import Processes
from orchestrator.live.chaos.redis import command
from tests.integration.chaos.liar import Lie, lying
from tests.integration.chaos.world import World, peaceful, played

pytestmark = pytest.mark.chaos

SECONDS = 5.0


@pytest.mark.parametrize("name", ["replica-kill", "replica-pause", "gateway-kill", "redis-kill"])
def test_no_client_hears_anything_but_the_truth(world: World, name: str) -> None:
    run = played(world, lasting(load(name), SECONDS))
    assert run.verdict.breaches == ()
    assert len(run.observed.struck) == len(run.scenario.faults)
    assert len(run.observed.expected) == len(run.observed.heard), "all can be compared"


@pytest.mark.parametrize(
    ("lie", "difference"),
    [
        (Lie.NONE, None),
        (Lie.DROP, Difference.LOST),
        (Lie.REPEAT_AFTER_RESUME, Difference.DUPLICATED),
    ],
)
def test_a_gateway_that_lies_is_found_out(
    world: World, cluster: Processes, lie: Lie, difference: Difference | None
) -> None:
    with lying(cluster.gateways[0].address, lie) as liar:
        world.door = liar.url
        try:
            run = played(world, peaceful())
        finally:
            world.door = None
    assert run.verdict.is_passed is (difference is None)
    # Where words repeat by themselves, some streams count as altered instead.
    assert difference in run.verdict.wrong or difference is None


def test_a_registry_entry_that_outlives_its_replica_is_a_leak(cluster: Processes) -> None:
    assert leaks(cluster) == ()
    command(cluster.redis.port, "SETBIT orch:{kv}:bstray 63 1")
    assert leaks(cluster) == ("the registry keeps 1 blocks in slot 56, which nobody has",)
    command(cluster.redis.port, "DEL orch:{kv}:bstray")
    command(cluster.redis.port, "SETBIT orch:{kv}:bstray 7 1")
    told = leaks(cluster)
    assert any("contradicts itself about 1 blocks" in sentence for sentence in told), told
    command(cluster.redis.port, "DEL orch:{kv}:bstray")
    assert leaks(cluster) == ()
