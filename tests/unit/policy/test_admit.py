"""Now, later or not at all."""

from __future__ import annotations

from dataclasses import replace

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
)
from orchestrator.policy.view import ClusterView, Subject
from protos.messages import ReplicaId
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

CONFIG = AdmitConfig(queue_max=10)
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
    decision = admit(cluster(*busy), subject(), {}, replace(PATIENT, ahead=10), CONFIG)
    assert decision == Shed(AdmitReason.QUEUE_FULL, retry_after_s=3)


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
        case Queue():
            assert queue.ahead < CONFIG.queue_max or queue.is_waiting
            assert queue.patience_ns > 0
        case Shed(_, retry_after_s):
            assert 1 <= retry_after_s <= CONFIG.retry_after_s_max
        case Refuse():
            assert all(who.blocks_least > r.blocks_total for r in view.accepting)
