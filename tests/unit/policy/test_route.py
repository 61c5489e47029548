"""Where a request goes: examples for each reason, then what holds for every cluster."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.policy.route import RouteConfig, RouteReason, has_room, offers, route
from orchestrator.policy.view import ClusterView, Subject
from protos.messages import ReplicaId, RequestClass
from tests.unit.policy.views import (
    cluster,
    clusters,
    full,
    hits,
    idle,
    subject,
    subjects,
    unhurried,
)

CONFIG = RouteConfig()
A, B = ReplicaId("a"), ReplicaId("b")


def test_a_request_follows_its_prefix() -> None:
    placement = route(cluster(idle("a"), idle("b")), subject(), {B: 30}, CONFIG)
    assert placement is not None
    assert (placement.replica_id, placement.reason) == (B, RouteReason.PREFIX_HIT)
    assert placement.hit_blocks == 30
    assert placement.prefill_tokens == 640 - 30 * 16


def test_a_full_replica_is_never_chosen_however_hot_its_prefix() -> None:
    placement = route(cluster(full("a"), idle("b")), subject(), {A: 39}, CONFIG)
    assert placement is not None
    assert (placement.replica_id, placement.reason) == (B, RouteReason.ROOM)


def test_a_busy_holder_is_passed_over_when_its_queue_costs_more_than_the_hit_saves() -> None:
    """The hit saves 624 tokens, and all who would have waited for them four times that."""
    busy = replace(idle("a"), prefill_tokens_waiting=4 * 624 + 100)
    placement = route(cluster(busy, idle("b")), subject(), {A: 39}, CONFIG)
    assert placement is not None
    assert (placement.replica_id, placement.reason) == (B, RouteReason.BALANCE)


def test_a_slightly_busier_holder_is_still_worth_it() -> None:
    busy = replace(idle("a"), prefill_tokens_waiting=4 * 624 - 10)
    placement = route(cluster(busy, idle("b")), subject(), {A: 39}, CONFIG)
    assert placement is not None
    assert placement.replica_id == A


def test_the_end_of_a_long_prompt_is_worth_more_than_its_beginning() -> None:
    """Each token attends to all before it: of 12,000 the last 4,000 cost as much as 8,000 alone."""
    long = subject(prompt_tokens=12_000)
    cheap = replace(idle("a"), context_weight=1 / 10_000)
    view = cluster(cheap, replace(cheap, replica_id=B, prefill_tokens_waiting=25_000))
    placement = route(view, long, {A: 250, B: 500}, CONFIG)
    assert placement is not None
    assert placement.replica_id == B
    assert placement.prefill_tokens == pytest.approx(8_000, rel=0.01)
    linear = cluster(*(replace(replica, context_weight=0.0) for replica in view.replicas))
    placement = route(linear, long, {A: 250, B: 500}, CONFIG)
    assert placement is not None
    assert placement.replica_id == A


def test_a_slow_replica_gets_less() -> None:
    """The same queue is longer in seconds where prefill is slower."""
    slow = replace(idle("a"), prefill_tokens_waiting=1_000, prefill_tokens_per_s=500.0)
    fast = replace(idle("b"), prefill_tokens_waiting=2_000, prefill_tokens_per_s=5_000.0)
    placement = route(cluster(slow, fast), subject(), {}, CONFIG)
    assert placement is not None
    assert (placement.replica_id, placement.reason) == (B, RouteReason.LOAD)


def test_of_equal_costs_the_fewest_running_sequences_win() -> None:
    running = replace(idle("a"), sequences_running=1)
    for number in range(8):
        placement = route(cluster(running, idle("b")), subject(request_id=f"{number}"), {}, CONFIG)
        assert placement is not None
        assert placement.replica_id == B


def test_equal_replicas_share_requests_evenly() -> None:
    view = cluster(idle("a"), idle("b"), idle("c"), idle("d"))
    placements = [route(view, subject(request_id=f"{n}"), {}, CONFIG) for n in range(400)]
    shares = Counter(p.replica_id for p in placements if p is not None)
    assert sum(shares.values()) == 400
    assert len(shares) == 4
    assert min(shares.values()) > 60


@pytest.mark.parametrize("change", [{"alive": False}, {"draining": True}])
def test_a_replica_that_takes_no_work_is_never_chosen(change: dict[str, bool]) -> None:
    gone = replace(idle("a"), **change)  # type: ignore[arg-type]
    assert route(cluster(gone), subject(), {A: 39}, CONFIG) is None


def test_a_replica_with_a_long_queue_of_sequences_is_no_candidate() -> None:
    queued = replace(idle("a"), sequences_waiting=20, sequences_promised=12)
    assert route(cluster(queued), subject(), {}, CONFIG) is None


def test_promised_blocks_are_not_promised_again() -> None:
    promised = replace(idle("a"), blocks_promised=960)
    assert route(cluster(promised), subject(prompt_tokens=640), {}, CONFIG) is None
    assert route(cluster(promised), subject(prompt_tokens=320), {}, CONFIG) is not None


def test_the_requests_own_hits_are_not_counted_on_as_evictable() -> None:
    """All that could be evicted is the prefix that the request wants to use."""
    tight = replace(idle("a"), blocks_free=1, blocks_cached=39, blocks_used=960)
    assert route(cluster(tight), subject(tokens_max=1), {A: 39}, CONFIG) is None
    assert route(cluster(tight), subject(prompt_tokens=400), {}, CONFIG) is not None


def test_whatever_fits_a_replica_alone_fits_it_when_idle() -> None:
    """Also with its whole prefix cached there: hits must not be counted as evictable."""
    cached = replace(idle("a"), blocks_free=0, blocks_cached=1000)
    largest = subject(prompt_tokens=1000 * 16 - 1, tokens_max=5_000)
    assert route(cluster(idle("a")), largest, {}, CONFIG) is not None
    assert route(cluster(cached), largest, {A: 1000}, CONFIG) is not None


# ---- for every cluster


@unhurried
@given(clusters, subjects, hits, st.permutations(range(4)))
def test_the_order_of_replicas_changes_nothing(
    view: ClusterView, who: Subject, held: dict[ReplicaId, int], order: list[int]
) -> None:
    shuffled = ClusterView(view.now_ns, tuple(view.replicas[index] for index in order))
    backwards = dict(reversed(held.items()))
    assert route(view, who, held, CONFIG) == route(shuffled, who, backwards, CONFIG)


@unhurried
@given(clusters, subjects, hits)
def test_only_accepting_replicas_with_room_are_chosen(
    view: ClusterView, who: Subject, held: dict[ReplicaId, int]
) -> None:
    placement = route(view, who, held, CONFIG)
    if placement is None:
        return
    chosen = next(r for r in view.replicas if r.replica_id == placement.replica_id)
    assert chosen.alive and not chosen.draining
    yielding = chosen.blocks_yielding if who.is_interactive else 0
    assert placement.blocks <= chosen.blocks_free + chosen.blocks_cached + yielding
    assert chosen.sequences_waiting < CONFIG.waiting_max
    assert placement.prefill_tokens >= 1


def test_only_interactive_requests_use_what_is_reserved() -> None:
    """640 tokens and their growth take 44 blocks."""
    view = cluster(replace(idle("a"), blocks_free=100, blocks_used=900, blocks_reserved=57))
    agent = replace(subject(), request_class=RequestClass.AGENT)
    assert route(view, subject(), {}, CONFIG) is not None
    assert route(view, agent, {}, CONFIG) is None
    lent = cluster(replace(view.replicas[0], blocks_reserved=56))
    assert route(lent, agent, {}, CONFIG) is not None


def test_interactive_requests_go_where_others_give_way() -> None:
    view = cluster(replace(full("a"), blocks_yielding=44))
    agent = replace(subject(), request_class=RequestClass.AGENT)
    assert route(view, subject(), {}, CONFIG) is not None
    assert route(view, agent, {}, CONFIG) is None
    assert route(cluster(replace(full("a"), blocks_yielding=43)), subject(), {}, CONFIG) is None


def test_what_could_run_alone_can_still_be_placed_on_an_empty_replica() -> None:
    view = cluster(replace(idle("a"), blocks_reserved=200))
    large = replace(subject(prompt_tokens=999 * 16), request_class=RequestClass.BATCH)
    assert route(view, large, {}, CONFIG) is not None
    found = cluster(replace(idle("a"), blocks_free=700, blocks_cached=300, blocks_reserved=200))
    assert route(found, large, {ReplicaId("a"): 300}, CONFIG) is not None


def test_others_leave_places_in_a_replicas_line_to_interactive_requests() -> None:
    view = cluster(replace(idle("a"), sequences_waiting=CONFIG.waiting_others_max))
    assert route(view, subject(), {}, CONFIG) is not None
    assert route(view, replace(subject(), request_class=RequestClass.AGENT), {}, CONFIG) is None


@unhurried
@given(clusters, subjects, hits)
def test_a_hot_prefix_pulls_no_more_load_than_it_saves_all(
    view: ClusterView, who: Subject, held: dict[ReplicaId, int]
) -> None:
    """Against any candidate: what the chosen one costs more in queue and memory, it saves."""
    placement = route(view, who, held, CONFIG)
    if placement is None:
        return
    for passed in offers(view, who, held, CONFIG):
        if has_room(passed, who, CONFIG):
            extra_s = (placement.cost.queue_s + placement.cost.pressure_s) - (
                passed.cost.queue_s + passed.cost.pressure_s
            )
            saved_s = passed.cost.own_s - placement.cost.own_s
            assert extra_s <= CONFIG.scores.prefill_weight * saved_s + 1e-6


@unhurried
@given(clusters, subjects, hits, st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 20_000))
def test_more_work_never_attracts_a_request(
    view: ClusterView, who: Subject, held: dict[ReplicaId, int], name: str, tokens: int
) -> None:
    """A replica that was not chosen is not chosen either once it has more to do."""
    before = route(view, who, held, CONFIG)
    busier = ClusterView(
        view.now_ns,
        tuple(
            replace(r, prefill_tokens_waiting=r.prefill_tokens_waiting + tokens)
            if r.replica_id == name
            else r
            for r in view.replicas
        ),
    )
    after = route(busier, who, held, CONFIG)
    if before is not None and before.replica_id != name:
        assert after is not None
        assert after.replica_id == before.replica_id
