"""What a gateway believes of its replicas, and what it has promised them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.policy.route import Placement, RouteReason
from orchestrator.policy.scores import Cost
from orchestrator.policy.view import ReplicaView
from protos.messages import EngineCounters, ReplicaId, Snapshot
from protos.registry import Announcement
from tests.unit.control.reports import CARD, MS, SECOND, A, B, busy_report, member, report

PLACEMENT = Placement(
    replica_id=A,
    epoch=1,
    reason=RouteReason.LOAD,
    cost=Cost(7, 0, 0.0, 0.0, 0.0, 0.0),
    hit_blocks=0,
    blocks=7,
    prefill_tokens=100,
    sequences=1,
)


def cluster_of(*replica_ids: ReplicaId) -> Cluster:
    cluster = Cluster(ClusterConfig())
    cluster.observe_members([member(replica_id) for replica_id in replica_ids])
    for replica_id in replica_ids:
        cluster.observe_report(report(replica_id), 0)
    return cluster


def only(cluster: Cluster, now_ns: int = 0) -> ReplicaView:
    (replica,) = cluster.view(now_ns).replicas
    return replica


# ---- reports


def test_a_replica_is_in_the_view_once_it_has_reported() -> None:
    cluster = Cluster(ClusterConfig())
    cluster.observe_members([member(B), member(A)])
    assert cluster.view(0).replicas == ()
    cluster.observe_report(report(B), 0)
    cluster.observe_report(report(A), 0)
    assert [replica.replica_id for replica in cluster.view(0).replicas] == [A, B]


def test_a_late_or_repeated_report_changes_nothing() -> None:
    cluster = cluster_of(A)
    assert cluster.observe_report(report(number=5, used=50), 0)
    assert not cluster.observe_report(report(number=4, used=10), 0)
    assert not cluster.observe_report(report(number=5, used=10), 0)
    assert only(cluster).blocks_used == 50


def test_a_new_epoch_counts_from_its_first_report() -> None:
    cluster = cluster_of(A)
    cluster.observe_report(report(number=500, used=50), 0)
    assert cluster.observe_report(report(epoch=2, number=0, used=1), 0)
    assert not cluster.observe_report(report(epoch=1, number=501, used=50), 0)
    assert (only(cluster).epoch, only(cluster).blocks_used) == (2, 1)


def test_a_report_of_an_epoch_that_ended_is_a_ghost() -> None:
    cluster = cluster_of(A)
    elsewhere = member(A, epoch=2)
    elsewhere = replace(elsewhere, record=replace(elsewhere.record, address="elsewhere:1"))
    cluster.observe_members([elsewhere])
    assert cluster.view(0).replicas == ()
    assert not cluster.observe_report(report(epoch=1, number=9), 0)
    assert cluster.observe_report(report(epoch=2, number=0), 0)


def test_a_replica_that_the_registry_forgot_is_there_all_the_time() -> None:
    """Flushed, a registry gives all of them new epochs at once, where they are."""
    cluster = cluster_of(A)
    cluster.observe_report(report(number=5, used=50), 0)
    cluster.observe_members([member(A, epoch=2)])
    assert only(cluster).accepts
    assert only(cluster).blocks_used == 50
    assert cluster.observe_report(report(epoch=2, number=0, used=1), 0)
    assert (only(cluster).epoch, only(cluster).blocks_used) == (2, 1)


def test_a_report_of_a_stranger_is_ignored() -> None:
    cluster = cluster_of(A)
    assert not cluster.observe_report(report(B), 0)


def test_a_silent_replica_is_not_alive_until_it_reports_again() -> None:
    cluster = cluster_of(A)
    assert only(cluster, 3 * SECOND).alive
    assert not only(cluster, 3 * SECOND + 1).alive
    cluster.observe_report(report(number=1), 4 * SECOND)
    assert only(cluster, 4 * SECOND).alive


def test_a_lost_link_takes_its_replica_out_until_it_reports_again() -> None:
    cluster = cluster_of(A, B)
    cluster.observe_loss(A)
    assert [replica.replica_id for replica in cluster.view(0).replicas] == [B]
    cluster.observe_report(report(A, number=1), 0)
    assert len(cluster.view(0).replicas) == 2


def test_draining_is_believed_whoever_says_it() -> None:
    by_lease = cluster_of(A)
    by_lease.observe_members([member(A, draining=True)])
    by_report = cluster_of(A)
    by_report.observe_report(replace(report(number=1), draining=True), 0)
    assert only(by_lease).draining
    assert only(by_report).draining


# ---- debits


def test_a_debit_lowers_what_the_view_offers_and_its_release_restores_it() -> None:
    cluster = cluster_of(A)
    debit = cluster.charge(PLACEMENT, 0)
    charged = only(cluster)
    assert charged.blocks_room(hit_blocks=0) == 100 - 7
    assert charged.prefill_tokens_ahead == 100
    assert charged.sequences_ahead == 1
    cluster.release(debit)
    cluster.release(debit)
    assert only(cluster).blocks_room(hit_blocks=0) == 100


def test_a_debit_ends_when_reports_must_show_it() -> None:
    """Not with the next report, which may have been made before the request arrived."""
    cluster = cluster_of(A)
    cluster.charge(PLACEMENT, 0)
    cluster.observe_report(report(number=1), 200 * MS)
    assert only(cluster).blocks_promised == 7
    cluster.observe_report(report(number=2), 200 * MS)
    assert only(cluster).blocks_promised == 0


def test_many_reports_at_once_do_not_end_a_debit() -> None:
    """A replica in the middle of short steps reports faster than a request travels."""
    cluster = cluster_of(A)
    cluster.charge(PLACEMENT, 0)
    for number in range(1, 20):
        cluster.observe_report(report(number=number), number * MS)
    assert only(cluster).blocks_promised == 7


def test_a_debit_lives_through_a_lost_link_and_dies_with_its_member() -> None:
    cluster = cluster_of(A)
    debit = cluster.charge(PLACEMENT, 0)
    cluster.observe_loss(A)
    assert cluster.debits == (debit,)
    cluster.observe_members([])
    assert list(cluster.debits) == []
    cluster.release(debit)


# ---- what other gateways promise

HEARD = Announcement(
    replica_id=A,
    epoch=1,
    prefill_tokens=100,
    blocks=7,
    sequences=1,
    is_interactive=True,
    settle_ms=2_000,
)


def test_what_another_gateway_promised_is_charged_here_too() -> None:
    cluster = cluster_of(A)
    assert cluster.hear(HEARD, 0)
    charged = only(cluster)
    assert charged.blocks_promised == 7
    assert (charged.prefill_tokens_ahead, charged.sequences_ahead) == (100, 1)
    assert cluster.debits == (), "it is not ours to release"


def test_a_foreign_debit_ends_when_reports_must_show_it() -> None:
    cluster = cluster_of(A)
    cluster.hear(HEARD, 0)
    cluster.observe_report(report(number=1), 200 * MS)
    assert only(cluster).blocks_promised == 7
    cluster.observe_report(report(number=2), 200 * MS)
    assert only(cluster).blocks_promised == 0


def test_a_foreign_debit_ends_in_time_where_no_report_comes() -> None:
    cluster = cluster_of(A)
    cluster.hear(HEARD, 0)
    assert only(cluster, 2 * SECOND - 1).blocks_promised == 7
    assert only(cluster, 2 * SECOND).blocks_promised == 0


@pytest.mark.parametrize("is_lost", [True, False])
def test_what_others_promise_a_replica_that_is_not_heard_does_not_pile_up(is_lost: bool) -> None:
    cluster = cluster_of(A)
    if is_lost:
        cluster.observe_loss(A)
    for second in range(10, 20):
        heard = replace(HEARD, settle_ms=60_000)
        assert cluster.hear(heard, second * SECOND)  # what it leaves there is remembered
    cluster.observe_report(report(number=1), 20 * SECOND)
    assert only(cluster, 20 * SECOND).blocks_promised == 0


def test_a_placement_in_an_epoch_that_is_not_the_replicas_is_not_charged() -> None:
    cluster = cluster_of(A)
    assert not cluster.hear(replace(HEARD, epoch=2), 0)
    assert not cluster.hear(replace(HEARD, replica_id=B), 0)
    assert only(cluster).blocks_promised == 0


def test_interactive_requests_of_other_gateways_reserve_room_as_own_ones_do() -> None:
    cluster = cluster_of(A)
    cluster.hear(replace(HEARD, is_interactive=False), 0)
    assert only(cluster).blocks_reserved == 0
    cluster.hear(HEARD, 0)
    assert only(cluster).blocks_reserved == 7


# ---- reports that come late


def given(number: int, finished: int) -> Snapshot:
    """Of a replica that has been given so many requests, and has answered them."""
    return replace(report(number=number), counters=EngineCounters(requests_finished=finished))


def late_cluster() -> tuple[Cluster, int, int]:
    """It has found out that reports are 10 s late. How many requests the last one shows, and its
    number, which is also the second at which it came.
    """
    cluster = cluster_of(A)
    random = Random(1)
    placed_s: list[int] = []
    for second in range(1, 90):
        shown = sum(at_s <= second - 10 for at_s in placed_s)
        cluster.observe_report(given(second, shown), second * SECOND)
        if second < 75 and random.random() < 0.5:
            placed_s.append(second)
            nothing = replace(PLACEMENT, prefill_tokens=0)
            cluster.release(cluster.charge(nothing, second * SECOND))
    return cluster, len(placed_s), 89


def test_a_debit_outlives_reports_that_are_older_than_it() -> None:
    """Power: `is_shown` without the lag ends it with the second report."""
    cluster, shown, now_s = late_cluster()
    cluster.charge(PLACEMENT, now_s * SECOND)
    for later in range(1, 10):
        cluster.observe_report(given(now_s + later, shown), (now_s + later) * SECOND)
    assert only(cluster, (now_s + 9) * SECOND).blocks_promised == 7
    for later in range(10, 12):
        cluster.observe_report(given(now_s + later, shown), (now_s + later) * SECOND)
    assert only(cluster, (now_s + 11) * SECOND).blocks_promised == 0


def test_of_a_late_report_the_queue_is_reckoned() -> None:
    cluster, shown, now_s = late_cluster()
    now_ns = (now_s + 1) * SECOND
    cluster.observe_report(replace(given(now_s + 1, shown), prefill_tokens_waiting=50_000), now_ns)
    # Made ten seconds ago, give or take half of one; a replica of unknown speed is assumed to
    # compute 4,000 a second.
    assert only(cluster, now_ns).prefill_tokens_ahead == pytest.approx(10_000, abs=2_000)
    debit = cluster.charge(PLACEMENT, now_ns)
    cluster.observe_first_token(debit, now_ns + SECOND)
    cluster.release(debit)
    assert only(cluster, now_ns + SECOND).prefill_tokens_ahead == 0


# ---- what is learned


def test_the_prefill_rate_is_measured_in_full_steps() -> None:
    """1,000 tokens in 100 ms."""
    cluster = cluster_of(A)
    assert only(cluster).prefill_tokens_per_s is None
    cluster.observe_report(busy_report(1, full_ns=100 * MS, prefill_tokens=1_000), 0)
    assert only(cluster).prefill_tokens_per_s == pytest.approx(10_000.0)


def test_an_interval_without_a_full_step_measures_nothing() -> None:
    cluster = cluster_of(A)
    counters = EngineCounters(steps=10, prefill_tokens=8)
    cluster.observe_report(replace(report(number=1), counters=counters), 0)
    assert only(cluster).prefill_tokens_per_s is None


def rates(cluster: Cluster) -> list[float | None]:
    return [replica.prefill_tokens_per_s for replica in cluster.view(0).replicas]


def test_an_unmeasured_replica_is_as_fast_as_its_fleet() -> None:
    cluster = cluster_of(A, B)
    cluster.observe_report(busy_report(1, full_ns=100 * MS, prefill_tokens=1_000), 0)
    assert rates(cluster) == [pytest.approx(10_000.0)] * 2


def test_replicas_of_another_card_are_another_fleet() -> None:
    other = member(B)
    other = replace(other, record=replace(other.record, card=replace(CARD, name="larger")))
    cluster = Cluster(ClusterConfig())
    cluster.observe_members([member(A), other])
    cluster.observe_report(report(A), 0)
    cluster.observe_report(report(B), 0)
    cluster.observe_report(busy_report(1, full_ns=100 * MS, prefill_tokens=1_000), 0)
    assert rates(cluster) == [pytest.approx(10_000.0), None]


def test_a_few_steps_say_little_about_a_replica() -> None:
    """One second in which its prompts happened to cost twice as much."""
    cluster = cluster_of(A, B)
    for replica_id, tokens in ((A, 10_000), (B, 5_000)):
        cluster.observe_report(
            busy_report(1, replica_id=replica_id, full_ns=SECOND, prefill_tokens=tokens), 0
        )
    assert rates(cluster) == [pytest.approx(7_500.0, rel=0.02)] * 2


def test_a_replica_that_stays_slow_is_seen_to_be_slow_and_to_recover() -> None:
    cluster = cluster_of(A, B)
    tokens = 0
    for number, rate in enumerate([2_000] * 300 + [10_000] * 300, start=1):
        tokens += rate
        cluster.observe_report(
            busy_report(number, full_ns=number * SECOND, prefill_tokens=10_000 * number), 0
        )
        cluster.observe_report(
            busy_report(number, replica_id=B, full_ns=number * SECOND, prefill_tokens=tokens), 0
        )
        fast, slow = rates(cluster)
        assert fast is not None and slow is not None
        if number == 300:
            assert slow < fast / 2
    assert slow == pytest.approx(fast, rel=0.05)


def test_residence_is_known_once_a_request_has_finished() -> None:
    """200 tokens for each of 2 requests, 10 ms each."""
    cluster = cluster_of(A)
    assert only(cluster).residence_ns is None
    counters = EngineCounters(requests_finished=2, decode_tokens=400)
    cluster.observe_report(replace(report(number=1), counters=counters), 0)
    assert only(cluster).residence_ns == 2 * SECOND


def test_tokens_that_were_guessed_take_no_time_of_their_own() -> None:
    cluster = cluster_of(A)
    counters = EngineCounters(requests_finished=2, decode_tokens=400, accepted_tokens=300)
    cluster.observe_report(replace(report(number=1), counters=counters), 0)
    assert only(cluster).residence_ns == SECOND // 2


# ---- headroom


def test_what_interactive_requests_took_of_late_is_reserved_for_the_next_ones() -> None:
    cluster = cluster_of(A, B)
    cluster.release(cluster.charge(replace(PLACEMENT, blocks=10), 0))
    assert [replica.blocks_reserved for replica in cluster.view(0).replicas] == [5, 5]


def test_no_more_than_a_share_of_each_pool_is_reserved() -> None:
    cluster = cluster_of(A)
    total = only(cluster).blocks_total
    cluster.charge(replace(PLACEMENT, blocks=10 * total), 0)
    assert only(cluster).blocks_reserved == total // 5


def test_what_nobody_asks_for_any_more_is_lent() -> None:
    cluster = cluster_of(A)
    cluster.charge(replace(PLACEMENT, blocks=8), 0)
    reserved = [only(cluster, s * SECOND).blocks_reserved for s in (0, 10, 20, 60)]
    assert reserved == [8, 4, 2, 0]


def test_other_classes_reserve_nothing() -> None:
    cluster = cluster_of(A)
    cluster.charge(replace(PLACEMENT, blocks=8, is_interactive=False), 0)
    assert only(cluster).blocks_reserved == 0
