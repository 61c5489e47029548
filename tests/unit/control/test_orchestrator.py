"""The control plane's brain as a table of events and what must follow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.control.orchestrator import (
    DrainRequested,
    Orchestrator,
    OrchestratorConfig,
    ReplicaAttached,
    ReplicaDetached,
    ReplicaPhase,
    ReportReceived,
    SendDrain,
    StreamId,
)
from protos.messages import ReplicaId
from tests.unit.control.reports import SECOND, A, B, draining_report, record, report

S1, S2 = StreamId(1), StreamId(2)
CONFIG = OrchestratorConfig(drain_resend_ns=SECOND, absence_ns_max=10 * SECOND)


@pytest.fixture
def orchestrator() -> Orchestrator:
    """One active replica, attached at time 0."""
    made = Orchestrator(CONFIG)
    made.tick(0, [ReplicaAttached(S1, record(), report())])
    return made


def phase(orchestrator: Orchestrator, replica_id: ReplicaId = A) -> ReplicaPhase | None:
    status = orchestrator.replica(replica_id)
    return status.phase if status is not None else None


def test_an_attached_replica_is_active(orchestrator: Orchestrator) -> None:
    (status,) = orchestrator.status()
    assert (status.record, status.snapshot) == (record(), report())
    assert status.phase is ReplicaPhase.ACTIVE


def test_a_drain_is_ordered_until_a_report_shows_it(orchestrator: Orchestrator) -> None:
    order = SendDrain(S1, A, epoch=1)
    assert orchestrator.tick(0, [DrainRequested(A)]) == (order,)
    assert orchestrator.tick(SECOND // 2) == ()
    assert orchestrator.tick(SECOND) == (order,)
    shown = ReportReceived(S1, draining_report(1, running=3))
    assert orchestrator.tick(SECOND, [shown]) == ()
    assert orchestrator.tick(5 * SECOND) == ()
    assert phase(orchestrator) is ReplicaPhase.DRAINING


def test_a_replica_is_drained_when_it_reports_draining_and_empty(
    orchestrator: Orchestrator,
) -> None:
    orchestrator.tick(0, [DrainRequested(A), ReportReceived(S1, report(number=1))])
    assert phase(orchestrator) is ReplicaPhase.DRAINING  # empty, but it may still take work
    orchestrator.tick(0, [ReportReceived(S1, draining_report(2, running=1))])
    assert phase(orchestrator) is ReplicaPhase.DRAINING
    orchestrator.tick(0, [ReportReceived(S1, draining_report(3))])
    assert phase(orchestrator) is ReplicaPhase.DRAINED


def test_a_replica_that_drains_by_itself_is_followed(orchestrator: Orchestrator) -> None:
    assert orchestrator.tick(0, [ReportReceived(S1, draining_report(1, running=1))]) == ()
    assert phase(orchestrator) is ReplicaPhase.DRAINING


def test_asking_twice_or_for_a_stranger_changes_nothing(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [DrainRequested(A)])
    assert orchestrator.tick(0, [DrainRequested(A), DrainRequested(B)]) == ()
    assert phase(orchestrator, B) is None


def test_an_order_waits_for_the_stream_to_come_back(orchestrator: Orchestrator) -> None:
    assert orchestrator.tick(0, [ReplicaDetached(S1, A), DrainRequested(A)]) == ()
    back = ReplicaAttached(S2, record(), report(number=1))
    assert orchestrator.tick(SECOND, [back]) == (SendDrain(S2, A, epoch=1),)


def test_a_drain_under_way_goes_on_in_the_next_epoch(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [DrainRequested(A)])
    renewed = ReplicaAttached(S2, record(), report(epoch=2))
    assert orchestrator.tick(0, [renewed]) == (SendDrain(S2, A, epoch=2),)


def test_a_drained_replica_starts_afresh_in_the_next_epoch(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [ReportReceived(S1, draining_report(1))])
    assert phase(orchestrator) is ReplicaPhase.DRAINED
    orchestrator.tick(0, [ReplicaAttached(S2, record(), report(epoch=2))])
    assert phase(orchestrator) is ReplicaPhase.ACTIVE


def test_the_late_end_of_an_older_stream_detaches_nobody(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [ReplicaAttached(S2, record(), report(number=1))])
    orchestrator.tick(0, [ReplicaDetached(S1, A)])
    assert orchestrator.tick(0, [DrainRequested(A)]) == (SendDrain(S2, A, epoch=1),)


def test_a_ghost_of_an_earlier_epoch_cannot_attach(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [ReplicaAttached(S2, record(), report(epoch=5))])
    orchestrator.tick(0, [ReplicaAttached(StreamId(3), record(), report(epoch=4))])
    status = orchestrator.replica(A)
    assert status is not None
    assert status.snapshot.epoch == 5


def test_reports_count_once_in_order_and_on_their_own_stream(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [ReportReceived(S1, report(number=5, used=50))])
    orchestrator.tick(0, [ReportReceived(S1, report(number=4, used=1))])
    orchestrator.tick(0, [ReportReceived(S2, report(number=6, used=1))])
    status = orchestrator.replica(A)
    assert status is not None
    assert status.snapshot.blocks_used == 50


def test_a_replica_without_a_stream_is_forgotten_after_a_bound(
    orchestrator: Orchestrator,
) -> None:
    """Counted from the end of its stream, however long it had been silent on it."""
    orchestrator.tick(30 * SECOND, [ReplicaDetached(S1, A)])
    orchestrator.tick(40 * SECOND)
    assert phase(orchestrator) is ReplicaPhase.ACTIVE
    orchestrator.tick(40 * SECOND + 1)
    assert orchestrator.status() == ()


def test_a_replica_that_stalls_on_a_live_stream_is_still_there_when_it_reports_again(
    orchestrator: Orchestrator,
) -> None:
    orchestrator.tick(1_000 * SECOND)
    assert orchestrator.replica(A) is not None
    orchestrator.tick(1_000 * SECOND, [ReportReceived(S1, report(number=1, used=50))])
    status = orchestrator.replica(A)
    assert status is not None
    assert status.snapshot.blocks_used == 50


def test_a_drain_ordered_before_a_stall_is_ordered_on(orchestrator: Orchestrator) -> None:
    order = SendDrain(S1, A, epoch=1)
    assert orchestrator.tick(0, [DrainRequested(A)]) == (order,)
    assert orchestrator.tick(1_000 * SECOND) == (order,)


def test_commands_and_status_come_by_replica_id() -> None:
    orchestrator = Orchestrator(CONFIG)
    orchestrator.tick(0, [ReplicaAttached(S1, record(B), report(B))])
    orchestrator.tick(0, [ReplicaAttached(S2, record(A), report(A))])
    commands = orchestrator.tick(0, [DrainRequested(B), DrainRequested(A)])
    assert [command.replica_id for command in commands] == [A, B]
    assert [status.record.replica_id for status in orchestrator.status()] == [A, B]


def test_a_drained_replica_cannot_become_active_again_by_a_report(
    orchestrator: Orchestrator,
) -> None:
    orchestrator.tick(0, [ReportReceived(S1, draining_report(1))])
    back = replace(report(number=2), sequences_running=1)
    orchestrator.tick(0, [ReportReceived(S1, back), DrainRequested(A)])
    assert phase(orchestrator) is ReplicaPhase.DRAINED
