"""When blocks are copied to a replica rather than computed there, and from whom."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.policy.route import RouteConfig, RouteReason, offers, route
from orchestrator.policy.scores import NS_PER_S, cost, usable_hits
from orchestrator.policy.view import ClusterView, ReplicaView, Subject
from protos.messages import ReplicaId
from tests.unit.policy.views import (
    BLOCK_SIZE,
    cluster,
    clusters,
    hits,
    idle,
    subject,
    subjects,
    unhurried,
)

CONFIG = RouteConfig()
A, B, C = ReplicaId("a"), ReplicaId("b"), ReplicaId("c")
MS = 1_000_000
BUSY = 20_000  # tokens to compute: five seconds


def ready(name: str, *, start_ms: int = 10, block_us: int = 200) -> ReplicaView:
    """A replica that takes copies: a block of 16 tokens costs 4 ms to compute."""
    return replace(idle(name), copy_start_ns=start_ms * MS, copy_block_ns=block_us * 1_000)


def asked(held: dict[ReplicaId, int], prompt_tokens: int = 1_600) -> Subject:
    return replace(subject(prompt_tokens=prompt_tokens), held=held)


def test_what_a_busy_replica_holds_is_copied_to_an_idle_one() -> None:
    view = cluster(replace(ready("a"), prefill_tokens_waiting=BUSY), ready("b"))
    placement = route(view, asked({A: 90}), {A: 90}, CONFIG)
    assert placement is not None
    assert (placement.replica_id, placement.reason) == (B, RouteReason.COPY)
    assert (placement.source, placement.source_blocks) == (A, 90)
    assert placement.prefill_tokens == 1_600 - 90 * BLOCK_SIZE
    assert placement.hit_blocks == 0
    assert placement.blocks >= 100, "what is copied takes room like what is computed"
    assert placement.cost.copy_s == pytest.approx(0.010 + 90 * 0.0002)


def test_nothing_is_copied_that_is_there() -> None:
    view = cluster(replace(ready("a"), prefill_tokens_waiting=BUSY), ready("b"))
    placement = route(view, asked({A: 90, B: 60}), {A: 90, B: 60}, CONFIG)
    assert placement is not None
    assert (placement.source, placement.source_blocks) == (A, 90)
    assert placement.cost.copy_s == pytest.approx(0.010 + 30 * 0.0002)


def test_what_is_to_be_computed_there_is_copied_too_and_paid_for() -> None:
    """It will be found there in a while, but a copy does not wait for that."""
    view = cluster(replace(ready("a"), prefill_tokens_waiting=BUSY), ready("b"))
    placement = route(view, asked({A: 90, B: 20}), {A: 90, B: 60}, CONFIG)
    assert placement is not None
    assert (placement.source, placement.source_blocks) == (A, 90)
    assert placement.cost.copy_s == pytest.approx(0.010 + 70 * 0.0002)
    assert placement.prefill_tokens == 1_600 - 90 * BLOCK_SIZE


@pytest.mark.parametrize(("blocks", "is_copied"), [(2, False), (3, True)])
def test_the_start_of_a_copy_has_to_pay(blocks: int, is_copied: bool) -> None:
    """10 ms and 0.2 for each block, against 4: two blocks do not, three do."""
    view = cluster(replace(ready("a"), prefill_tokens_waiting=BUSY), ready("b"))
    placement = route(view, asked({A: blocks}), {A: blocks}, CONFIG)
    assert placement is not None
    assert (placement.source is not None) == is_copied


def test_a_way_that_is_slower_than_computing_is_not_taken() -> None:
    view = cluster(replace(ready("a"), prefill_tokens_waiting=BUSY), ready("b", block_us=4_000))
    placement = route(view, asked({A: 90}), {A: 90}, CONFIG)
    assert placement is not None
    assert (placement.replica_id, placement.source) == (B, None)


def test_a_replica_that_takes_no_copies_computes() -> None:
    view = cluster(replace(idle("a"), prefill_tokens_waiting=BUSY), idle("b"))
    placement = route(view, asked({A: 90}), {A: 90}, CONFIG)
    assert placement is not None
    assert (placement.replica_id, placement.source) == (B, None)


def test_blocks_that_are_still_to_come_are_waited_for_and_not_copied() -> None:
    """Two identical cold prompts: the second goes behind the first, of which nobody has blocks."""
    first = replace(ready("a"), prefill_tokens_promised=1_600)
    placement = route(cluster(first, ready("b")), asked({}), {A: 99}, CONFIG)
    assert placement is not None
    assert (placement.replica_id, placement.source) == (A, None)


def test_of_equal_holders_the_least_busy_is_asked() -> None:
    view = cluster(
        replace(ready("a"), prefill_tokens_waiting=2 * BUSY),
        replace(ready("b"), prefill_tokens_waiting=BUSY),
        ready("c"),
    )
    placement = route(view, asked({A: 90, B: 90}), {A: 90, B: 90}, CONFIG)
    assert placement is not None
    assert (placement.replica_id, placement.source) == (C, B)


def test_one_that_drains_can_still_give_and_a_lost_one_cannot() -> None:
    for change, source in (({"draining": True}, A), ({"alive": False}, None)):
        view = cluster(replace(ready("a"), **change), ready("b"))  # type: ignore[arg-type]
        placement = route(view, asked({A: 90}), {A: 90}, CONFIG)
        assert placement is not None
        assert (placement.replica_id, placement.source) == (B, source)


# ---- for every cluster


@unhurried
@given(clusters, subjects, hits)
def test_a_copy_never_takes_longer_than_computing(
    view: ClusterView, who: Subject, hit: dict[ReplicaId, int]
) -> None:
    for offered in offers(view, who, hit, CONFIG):
        computed = cost(offered.replica, who, offered.hit_blocks, CONFIG.scores)
        assert offered.cost.own_s <= computed.own_s
        assert offered.cost.total_s <= computed.total_s + 1e-9
        assert (offered.cost.copy_s > 0) <= (offered.source is not None)


@unhurried
@given(clusters, subjects, hits)
def test_a_source_lives_is_another_one_and_has_more(
    view: ClusterView, who: Subject, hit: dict[ReplicaId, int]
) -> None:
    held = usable_hits(who, who.held)
    alive = {replica.replica_id for replica in view.replicas if replica.alive}
    for offered in offers(view, who, hit, CONFIG):
        if offered.source is not None:
            assert offered.source in alive - {offered.replica.replica_id}
            assert offered.hit_blocks + offered.copied_blocks <= held[offered.source]
            assert offered.copied_blocks > 0
            assert offered.replica.takes_copies


@unhurried
@given(clusters, subjects, hits)
def test_what_is_copied_from_there_is_as_it_was_offered(
    view: ClusterView, who: Subject, hit: dict[ReplicaId, int]
) -> None:
    placement = route(view, who, hit, CONFIG)
    if placement is None:
        return
    chosen = next(
        offered
        for offered in offers(view, who, hit, CONFIG)
        if offered.replica.replica_id == placement.replica_id
    )
    assert placement.cost == chosen.cost
    assert (placement.source is None) == (chosen.source is None)
    assert (placement.reason is RouteReason.COPY) == (placement.source is not None)


@unhurried
@given(clusters, subjects, hits, st.integers(1, 10 * NS_PER_S))
def test_a_slower_way_never_makes_a_copy(
    view: ClusterView, who: Subject, hit: dict[ReplicaId, int], slower_ns: int
) -> None:
    def copies(of: ClusterView) -> set[ReplicaId]:
        every = offers(of, who, hit, CONFIG)
        return {offered.replica.replica_id for offered in every if offered.source is not None}

    slow = ClusterView(
        view.now_ns,
        tuple(
            replace(r, copy_start_ns=r.copy_start_ns + slower_ns) if r.takes_copies else r
            for r in view.replicas
        ),
    )
    assert copies(slow) <= copies(view)


@unhurried
@given(clusters, subjects, hits)
def test_more_to_copy_from_never_costs_anybody_more(
    view: ClusterView, who: Subject, hit: dict[ReplicaId, int]
) -> None:
    alone = offers(view, replace(who, held={}), hit, CONFIG)
    for offered, before in zip(offers(view, who, hit, CONFIG), alone, strict=True):
        assert offered.cost.total_s <= before.cost.total_s + 1e-9
