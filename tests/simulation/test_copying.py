"""Worlds in which every request copies what it can, whether or not that is wise.

The policy under test places by load alone, so that a prefix is mostly elsewhere, and
always names whoever holds most of it. What a block holds decides each token
(`exact`), so a block that was copied wrongly, or half, is a wrong answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

from orchestrator.policy.route import Placement, RouteConfig
from orchestrator.policy.view import ClusterView, Subject
from orchestrator.sim.baselines.load import least_requests
from orchestrator.sim.checkers import Checkers
from orchestrator.sim.policies import POLICIES
from orchestrator.sim.swarm.scenario import first_choice, scenario
from orchestrator.sim.world import History, WorldConfig, simulate
from protos.messages import ReplicaId
from protos.moves import CopyOutcome
from tests.simulation.workloads import BLOCK_SIZE, small_traffic

FORCED = "copies-whatever-it-can"
SEEDS = 40


def copy_whatever_can_be(
    view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
) -> Placement | None:
    """By load alone, with all that anybody else holds."""
    if not view.accepting:
        return None
    placement = least_requests(view, subject, hits, config)
    others = [(hits[each], each) for each in sorted(hits) if each != placement.replica_id]
    if not others:
        return placement
    blocks, source = max(others)
    return replace(placement, source=source, source_blocks=blocks)


@pytest.fixture(autouse=True)
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "orchestrator.sim.world.POLICIES", {**POLICIES, FORCED: lambda seed: copy_whatever_can_be}
    )


def ends(history: History) -> Counter[str]:
    ended: Counter[str] = Counter()
    for snapshot in history.snapshots:
        ended.update(dict(snapshot.copies.ended))
    return ended


def test_what_is_copied_is_not_computed_and_says_the_same() -> None:
    config = WorldConfig(
        replicas=4, blocks=400, block_size=BLOCK_SIZE, policy=FORCED, exact=True, block_ns=10_000
    )
    traffic, checkers = small_traffic(1, requests=100), Checkers(expected=first_choice)
    copying = simulate(config, traffic, checkers)
    alone = simulate(replace(config, copying=False), traffic, checkers)
    assert ends(copying)[CopyOutcome.COPIED.value] > 5
    assert not ends(alone)
    computed = [
        sum(snapshot.counters.prefill_tokens for snapshot in history.snapshots)
        for history in (copying, alone)
    ]
    copied = sum(snapshot.counters.copied_tokens for snapshot in copying.snapshots)
    assert copied > 0
    assert computed[0] < computed[1]


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_copies_survive_whatever_befalls_a_cluster(first: int) -> None:
    ended: Counter[str] = Counter()
    for seed in range(first, first + 10):
        world = scenario(seed)
        ended += ends(replace(world, config=replace(world.config, policy=FORCED)).run())
    assert ended[CopyOutcome.COPIED.value] > 5
    assert ended.total() > ended[CopyOutcome.COPIED.value], "a swarm in which no copy fails"
