"""Each baseline makes the choice that its source describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from orchestrator.policy.route import Route, RouteConfig
from orchestrator.policy.view import ClusterView, ReplicaView
from orchestrator.sim.baselines.dynamo_like import DynamoLike
from orchestrator.sim.baselines.load import RandomChoice, RoundRobin, least_requests, least_tokens
from orchestrator.sim.baselines.load_and_copy import load_and_copy
from orchestrator.sim.baselines.longest_prefix import longest_prefix
from orchestrator.sim.baselines.preble_like import WINDOW_NS, PrebleLike
from orchestrator.sim.baselines.sglang_like import SglangLike
from protos.messages import ReplicaId
from tests.unit.policy.views import cluster, idle, subject

A, B, C = ReplicaId("a"), ReplicaId("b"), ReplicaId("c")


def running(name: str, count: int) -> ReplicaView:
    return replace(idle(name), sequences_running=count)


def choice(route: Route, view: ClusterView, hits: Mapping[ReplicaId, int] | None = None) -> str:
    placement = route(view, subject(), hits or {}, RouteConfig())
    assert placement is not None
    return placement.replica_id


THREE = cluster(idle("a"), idle("b"), idle("c"))


def test_round_robin_takes_turns() -> None:
    route = RoundRobin()
    assert [choice(route, THREE) for _ in range(6)] == ["b", "c", "a"] * 2


def test_random_is_a_function_of_its_seed_and_reaches_everybody() -> None:
    def choices(seed: int) -> list[str]:
        route = RandomChoice(seed)
        return [choice(route, THREE) for _ in range(50)]

    assert choices(1) == choices(1) != choices(2)
    assert set(choices(1)) == {"a", "b", "c"}


def test_least_requests_counts_those_on_their_way() -> None:
    promised = replace(idle("a"), sequences_promised=3)
    assert choice(least_requests, cluster(promised, running("b", 2))) == "b"


def test_least_tokens_sees_one_long_prompt_where_requests_are_even() -> None:
    busy = replace(running("a", 1), prefill_tokens_waiting=9000)
    assert choice(least_tokens, cluster(busy, running("b", 1))) == "b"


def test_longest_prefix_does_not_care_for_load() -> None:
    assert choice(longest_prefix, cluster(running("a", 500), idle("b")), {A: 2, B: 1}) == "a"


@pytest.mark.parametrize(
    ("active", "weight", "expected"), [(10, 1, "a"), (30, 1, "b"), (30, 4, "a"), (90, 4, "b")]
)
def test_dynamo_weighs_a_hit_against_active_blocks(
    active: int, weight: float, expected: str
) -> None:
    holder = replace(idle("a"), blocks_used=active, blocks_free=1000 - active)
    assert choice(DynamoLike(weight), cluster(holder, idle("b")), {A: 20}) == expected


@pytest.mark.parametrize(("hits", "expected"), [(20, "a"), (5, "b")])
def test_sglang_wants_a_good_match_or_else_the_smallest_tree(hits: int, expected: str) -> None:
    route = SglangLike()
    assert choice(route, THREE) == "a", "all trees are empty"
    assert choice(route, THREE, {A: hits}) == expected


def test_sglang_does_not_notice_what_replicas_evict() -> None:
    route = SglangLike()
    assert [choice(route, THREE) for _ in range(4)] == ["a", "b", "c", "a"]


def test_sglang_forgets_affinity_once_the_fleet_is_out_of_balance() -> None:
    hits = {A: 39}
    assert choice(SglangLike(), cluster(running("a", 64), idle("b")), hits) == "a"
    assert choice(SglangLike(), cluster(running("a", 65), idle("b")), hits) == "b"


def test_preble_exploits_a_long_match_and_explores_otherwise() -> None:
    route = PrebleLike()
    assert choice(route, THREE, {C: 30}) == "c"
    assert choice(route, THREE, {C: 30}) == "c"
    assert choice(route, THREE, {C: 10}) == "a"


def test_preble_forgets_what_it_assigned_before_the_window() -> None:
    route = PrebleLike()
    assert choice(route, THREE) == "a"
    assert choice(route, THREE) == "b"
    later = replace(THREE, now_ns=WINDOW_NS + 1)
    assert choice(route, later) == "a"


@pytest.mark.parametrize(
    "route",
    [least_requests, least_tokens, longest_prefix, DynamoLike(1.0), SglangLike()],
    ids=["least_requests", "least_tokens", "longest_prefix", "dynamo_like", "sglang_like"],
)
def test_a_draining_replica_is_never_chosen(route: Route) -> None:
    view = cluster(replace(idle("a"), draining=True), running("b", 9))
    assert choice(route, view, {A: 39}) == "b"


def test_load_and_copy_goes_where_least_is_and_copies_what_is_held_elsewhere() -> None:
    view = cluster(running("a", 2), idle("b"), running("c", 1))
    placement = load_and_copy(view, subject(), {A: 30, B: 5, C: 8}, RouteConfig())
    assert (placement.replica_id, placement.source, placement.source_blocks) == (B, A, 30)
    assert load_and_copy(view, subject(), {A: 4, B: 5}, RouteConfig()).source is None
