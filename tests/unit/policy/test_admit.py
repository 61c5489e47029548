"""Now, later or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.policy.admit import (
    Admit,
    AdmitConfig,
    AdmitReason,
    Queue,
    QueueState,
    Refuse,
    Shed,
    admit,
    give_way,
)
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

INTERACTIVE, AGENT, BATCH = RequestClass
CONFIG = AdmitConfig()
SECOND = 1_000_000_000
PATIENT = QueueState(ahead=0, patience_ns=30 * SECOND)


def test_room_and_an_empty_line_admit() -> None:
    decision = admit(cluster(idle("a")), subject(), {}, PATIENT, CONFIG)
    assert isinstance(decision, Admit)
    assert decision.placement.replica_id == "a"


def test_nobody_overtakes_the_line() -> None:
    decision = admit(cluster(idle("a")), subject(), {}, replace(PATIENT, ahead=1), CONFIG)
    assert decision == Queue(AdmitReason.BEHIND_OTHERS)


def test_a_full_cluster_queues() -> None:
    decision = admit(cluster(full("a"), full("b")), subject(), {}, PATIENT, CONFIG)
    assert decision == Queue(AdmitReason.NO_ROOM)


def test_without_a_replica_there_is_nothing_to_wait_for() -> None:
    draining = replace(idle("a"), draining=True)
    decision = admit(cluster(draining), subject(), {}, PATIENT, CONFIG)
    assert decision == Shed(AdmitReason.NO_REPLICA, CONFIG.replica_return_s)


def test_a_request_larger_than_every_replica_is_refused_at_once() -> None:
    too_large = subject(prompt_tokens=1000 * 16)
    assert admit(cluster(idle("a")), too_large, {}, PATIENT, CONFIG) == Refuse(
        AdmitReason.NEVER_FITS
    )
    larger = replace(idle("b"), blocks_total=2000, blocks_free=2000)
    assert isinstance(admit(cluster(idle("a"), larger), too_large, {}, PATIENT, CONFIG), Admit)


def test_retry_after_is_the_time_the_line_takes() -> None:
    """Two replicas with 10 sequences of 4 s each end 5 a second: 10 ahead take 2 s, room 0.2."""
    busy = [replace(full(name), residence_ns=4 * SECOND) for name in "ab"]
    queue = replace(PATIENT, ahead=10, is_full=True)
    decision = admit(cluster(*busy), subject(), {}, queue, CONFIG)
    assert decision == Shed(AdmitReason.QUEUE_FULL, retry_after_s=3)
    assert give_way(cluster(*busy), subject(), {}, queue, CONFIG) == Shed(
        AdmitReason.PUSHED_OUT, retry_after_s=3
    )


def test_in_a_full_line_somebody_worse_gives_way_to_a_newcomer() -> None:
    queue = replace(PATIENT, is_full=True, has_worse=True)
    decision = admit(cluster(full("a")), subject(), {}, queue, CONFIG)
    assert decision == Queue(AdmitReason.NO_ROOM, pushes_out=True)
    waiting = replace(queue, is_waiting=True)
    assert admit(cluster(full("a")), subject(), {}, waiting, CONFIG) == Queue(AdmitReason.NO_ROOM)


def test_who_gives_way_when_no_replica_is_left_hears_that() -> None:
    assert give_way(cluster(), subject(), {}, PATIENT, CONFIG) == Shed(
        AdmitReason.NO_REPLICA, CONFIG.replica_return_s
    )


@pytest.mark.parametrize(
    ("request_class", "ahead", "is_shed"),
    [
        (INTERACTIVE, 4, False),  # 8 s for them, 0.9 s for room
        (INTERACTIVE, 5, True),
        (AGENT, 5, False),
        (AGENT, 30, True),
        (BATCH, 30, False),
    ],
)
def test_each_class_has_its_own_objective(
    request_class: RequestClass, ahead: int, is_shed: bool
) -> None:
    busy = replace(full("a"), residence_ns=20 * SECOND)
    who = replace(subject(), request_class=request_class)
    decision = admit(cluster(busy), who, {}, QueueState(ahead, 3600 * SECOND), CONFIG)
    assert isinstance(decision, Shed if is_shed else Queue)
    assert not is_shed or decision.reason is AdmitReason.OBJECTIVE_MISSED


def test_a_clients_own_deadline_wins_over_its_classs_objective() -> None:
    busy = replace(full("a"), residence_ns=20 * SECOND)
    longer = QueueState(ahead=10, patience_ns=25 * SECOND, has_deadline=True)
    assert isinstance(admit(cluster(busy), subject(), {}, longer, CONFIG), Queue)
    shorter = replace(longer, ahead=0, patience_ns=SECOND // 2)
    assert admit(cluster(busy), subject(), {}, shorter, CONFIG) == Shed(
        AdmitReason.WAIT_TOO_LONG, retry_after_s=1
    )


def test_a_long_prompt_is_not_held_against_its_class() -> None:
    """60,000 tokens take 15 s by themselves; others leave it time at once."""
    busy = replace(idle("a"), blocks_total=10_000, blocks_promised=1000, residence_ns=SECOND)
    decision = admit(cluster(busy), subject(prompt_tokens=60_000), {}, PATIENT, CONFIG)
    assert decision == Queue(AdmitReason.NO_ROOM)


@pytest.mark.parametrize("request_class", [AGENT, BATCH])
def test_a_class_that_was_given_nothing_for_long_may_use_what_is_reserved(
    request_class: RequestClass,
) -> None:
    view = cluster(replace(idle("a"), blocks_free=100, blocks_used=900, blocks_reserved=90))
    who = replace(subject(), request_class=request_class)
    assert admit(view, who, {}, PATIENT, CONFIG) == Queue(AdmitReason.NO_ROOM)
    assert isinstance(admit(view, who, {}, replace(PATIENT, is_overdue=True), CONFIG), Admit)


def test_a_wait_beyond_the_clients_patience_is_refused_now_rather_than_later() -> None:
    busy = replace(full("a"), residence_ns=20 * SECOND)
    queue = QueueState(ahead=5, patience_ns=2 * SECOND)
    decision = admit(cluster(busy), subject(), {}, queue, CONFIG)
    assert decision == Shed(AdmitReason.WAIT_TOO_LONG, retry_after_s=11)


def test_an_assumption_sheds_nobody() -> None:
    """Before anything has finished, the residence time is a guess."""
    queue = QueueState(ahead=9, patience_ns=1)
    assert admit(cluster(full("a")), subject(), {}, queue, CONFIG) == Queue(
        AdmitReason.BEHIND_OTHERS
    )


def test_whoever_waits_already_waits_until_patience_ends() -> None:
    busy = replace(full("a"), residence_ns=20 * SECOND)
    waiting = QueueState(ahead=5, patience_ns=1, is_waiting=True)
    assert admit(cluster(busy), subject(), {}, waiting, CONFIG) == Queue(AdmitReason.BEHIND_OTHERS)
    over = admit(cluster(busy), subject(), {}, replace(waiting, patience_ns=0), CONFIG)
    assert over == Shed(AdmitReason.WAIT_TOO_LONG, retry_after_s=11)


def test_a_measured_lull_does_not_make_a_spike_hopeless() -> None:
    """Full by promises alone, with nothing running yet: worth one residence, not for ever."""
    promised = replace(idle("a"), blocks_promised=1000, residence_ns=2 * SECOND)
    decision = admit(cluster(promised), subject(), {}, PATIENT, CONFIG)
    assert decision == Queue(AdmitReason.NO_ROOM)


queues = st.builds(
    QueueState,
    ahead=st.integers(0, 20),
    patience_ns=st.integers(0, 60 * SECOND),
    is_waiting=st.booleans(),
    has_deadline=st.booleans(),
    is_full=st.booleans(),
    has_worse=st.booleans(),
    is_overdue=st.booleans(),
)


@unhurried
@given(clusters, subjects, hits, queues, st.permutations(range(4)))
def test_the_order_of_replicas_changes_nothing(
    view: ClusterView,
    who: Subject,
    held: dict[ReplicaId, int],
    queue: QueueState,
    order: list[int],
) -> None:
    shuffled = ClusterView(view.now_ns, tuple(view.replicas[index] for index in order))
    decision = admit(view, who, held, queue, CONFIG)
    assert decision == admit(shuffled, who, held, queue, CONFIG)


@unhurried
@given(clusters, subjects, hits, queues)
def test_every_line_is_bounded_and_every_retry_after_usable(
    view: ClusterView, who: Subject, held: dict[ReplicaId, int], queue: QueueState
) -> None:
    match admit(view, who, held, queue, CONFIG):
        case Admit():
            assert queue.ahead == 0
        case Queue(_, pushes_out):
            assert not queue.is_full or queue.is_waiting or pushes_out
            assert queue.has_worse or not pushes_out
            assert queue.patience_ns > 0
        case Shed(_, retry_after_s):
            assert 1 <= retry_after_s <= CONFIG.retry_after_s_max
        case Refuse():
            assert all(who.blocks_least > r.blocks_total for r in view.accepting)
