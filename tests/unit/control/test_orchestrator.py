"""The control plane's brain as a table of events and what must follow: standings and streams."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.control.decisions import Cause, DecisionKind
from orchestrator.control.events import (
    Command,
    ReplicaAttached,
    ReplicaDetached,
    Report,
    ReportReceived,
    SendStanding,
    SendWarm,
    StandingRequested,
    StreamId,
)
from orchestrator.control.orchestrator import Orchestrator, OrchestratorConfig
from orchestrator.control.phases import ReplicaPhase
from protos.messages import ReplicaId, Snapshot, Standing
from protos.moves import Peer
from tests.unit.control.reports import CARD, SECOND, A, B, draining_report, record, report

S1, S2 = StreamId(1), StreamId(2)
CONFIG = OrchestratorConfig(resend_ns=SECOND, absence_ns_max=10 * SECOND)
DRAIN = StandingRequested(A, Standing.LEAVING)
CORDON = StandingRequested(A, Standing.CORDONED)
UNCORDON = StandingRequested(A, Standing.OPEN)


def said(snapshot: Snapshot, standing: Standing = Standing.OPEN) -> Report:
    return Report(replace(snapshot, draining=standing is not Standing.OPEN), standing)


def left(number: int, *, running: int = 0, epoch: int = 1) -> Report:
    """What a replica reports that is to be emptied."""
    return Report(draining_report(number, running=running, epoch=epoch), Standing.LEAVING)


def attach(
    stream: StreamId, snapshot: Snapshot, standing: Standing = Standing.OPEN
) -> ReplicaAttached:
    return ReplicaAttached(stream, record(snapshot.replica_id), said(snapshot, standing))


@pytest.fixture
def orchestrator() -> Orchestrator:
    """One active replica, attached at time 0."""
    made = Orchestrator(CONFIG, term=1)
    made.tick(0, [attach(S1, report())])
    return made


def phase(orchestrator: Orchestrator, replica_id: ReplicaId = A) -> ReplicaPhase | None:
    status = orchestrator.replica(replica_id, 0)
    return status.phase if status is not None else None


def standings(commands: tuple[Command, ...]) -> list[SendStanding]:
    return [command for command in commands if isinstance(command, SendStanding)]


def test_an_attached_replica_is_active(orchestrator: Orchestrator) -> None:
    (status,) = orchestrator.status(0)
    assert (status.record, status.snapshot) == (record(), report())
    assert status.phase is ReplicaPhase.ACTIVE


@pytest.mark.parametrize("standing", [Standing.CORDONED, Standing.LEAVING])
def test_a_standing_is_ordered_until_a_report_shows_it(
    orchestrator: Orchestrator, standing: Standing
) -> None:
    order = SendStanding(S1, A, epoch=1, standing=standing)
    assert orchestrator.tick(0, [StandingRequested(A, standing)]) == (order,)
    assert orchestrator.tick(SECOND // 2) == ()
    assert orchestrator.tick(SECOND) == (order,)
    shown = ReportReceived(S1, said(replace(report(number=1), sequences_running=3), standing))
    assert orchestrator.tick(SECOND, [shown]) == ()
    assert orchestrator.tick(5 * SECOND) == ()


def test_a_replica_is_drained_when_it_reports_leaving_and_empty(
    orchestrator: Orchestrator,
) -> None:
    orchestrator.tick(0, [DRAIN, ReportReceived(S1, said(report(number=1)))])
    assert phase(orchestrator) is ReplicaPhase.DRAINING  # empty, but it may still take work
    orchestrator.tick(0, [ReportReceived(S1, left(2, running=1))])
    assert phase(orchestrator) is ReplicaPhase.DRAINING
    orchestrator.tick(0, [ReportReceived(S1, left(3))])
    assert phase(orchestrator) is ReplicaPhase.DRAINED


@pytest.mark.parametrize(
    ("standing", "running", "expected"),
    [
        (Standing.OPEN, 1, ReplicaPhase.ACTIVE),
        (Standing.CORDONED, 0, ReplicaPhase.CORDONED),
        (Standing.LEAVING, 1, ReplicaPhase.DRAINING),
        (Standing.LEAVING, 0, ReplicaPhase.DRAINED),
    ],
)
def test_a_new_leader_finds_every_phase_in_the_reports(
    standing: Standing, running: int, expected: ReplicaPhase
) -> None:
    fresh = Orchestrator(CONFIG, term=2)
    snapshot = replace(report(number=7, used=5), sequences_running=running)
    assert fresh.tick(0, [attach(S1, snapshot, standing)]) == ()
    assert phase(fresh) is expected


def test_a_replica_that_leaves_by_itself_is_followed(orchestrator: Orchestrator) -> None:
    assert orchestrator.tick(0, [ReportReceived(S1, left(1, running=1))]) == ()
    assert phase(orchestrator) is ReplicaPhase.DRAINING
    noted = orchestrator.decisions.last(1)[0]
    assert (noted.kind, noted.reason) == (DecisionKind.STANDING, Cause.REPLICA)


@pytest.mark.parametrize("running", [0, 1])
def test_a_replica_that_drains_or_drained_can_be_taken_back(
    orchestrator: Orchestrator, running: int
) -> None:
    orchestrator.tick(0, [DRAIN])
    orchestrator.tick(0, [ReportReceived(S1, left(1, running=running))])
    back = SendStanding(S1, A, epoch=1, standing=Standing.OPEN)
    assert orchestrator.tick(0, [UNCORDON]) == (back,)
    assert phase(orchestrator) is ReplicaPhase.ACTIVE
    orchestrator.tick(0, [ReportReceived(S1, said(report(number=2)))])
    assert orchestrator.tick(5 * SECOND) == ()


def test_a_replica_that_drains_is_not_cordoned(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [DRAIN])
    orchestrator.tick(0, [CORDON])
    assert phase(orchestrator) is ReplicaPhase.DRAINING


def test_the_last_wish_counts_whatever_a_late_report_says(orchestrator: Orchestrator) -> None:
    """The report was made before the first order arrived."""
    assert standings(orchestrator.tick(0, [DRAIN, CORDON, UNCORDON])) != []
    orchestrator.tick(0, [ReportReceived(S1, said(report(number=1)))])
    assert phase(orchestrator) is ReplicaPhase.ACTIVE


def test_asking_twice_or_for_a_stranger_changes_nothing(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [DRAIN])
    orchestrator.tick(0, [ReportReceived(S1, left(1, running=1))])
    again = (DRAIN, StandingRequested(B, Standing.LEAVING))
    assert orchestrator.tick(SECOND, again) == ()
    assert phase(orchestrator, B) is None


def test_an_order_waits_for_the_stream_to_come_back(orchestrator: Orchestrator) -> None:
    assert orchestrator.tick(0, [ReplicaDetached(S1, A), DRAIN]) == ()
    back = attach(S2, report(number=1, used=1))
    order = SendStanding(S2, A, epoch=1, standing=Standing.LEAVING)
    assert orchestrator.tick(SECOND, [back]) == (order,)


@pytest.mark.parametrize("standing", [Standing.CORDONED, Standing.LEAVING])
def test_an_order_that_no_report_shows_goes_on_in_the_next_epoch(
    orchestrator: Orchestrator, standing: Standing
) -> None:
    orchestrator.tick(0, [StandingRequested(A, standing)])
    renewed = attach(S2, report(epoch=2, used=1))
    order = SendStanding(S2, A, epoch=2, standing=standing)
    assert orchestrator.tick(0, [renewed]) == (order,)


@pytest.mark.parametrize("standing", [Standing.CORDONED, Standing.LEAVING])
def test_who_obeyed_goes_on_obeying_in_the_next_epoch(
    orchestrator: Orchestrator, standing: Standing
) -> None:
    orchestrator.tick(0, [StandingRequested(A, standing)])
    busy = replace(report(number=1), sequences_running=1)
    orchestrator.tick(0, [ReportReceived(S1, said(busy, standing))])
    before = phase(orchestrator)
    renewed = ReplicaAttached(S2, record(A), said(replace(busy, epoch=2, number=0), standing))
    assert standings(orchestrator.tick(0, [renewed])) == []
    assert phase(orchestrator) is before is not ReplicaPhase.ACTIVE


@pytest.mark.parametrize("standing", [Standing.CORDONED, Standing.LEAVING])
def test_a_process_that_begins_under_the_name_of_one_that_obeyed_is_open(
    orchestrator: Orchestrator, standing: Standing
) -> None:
    orchestrator.tick(0, [StandingRequested(A, standing)])
    busy = replace(report(number=1), sequences_running=1)
    orchestrator.tick(0, [ReportReceived(S1, said(busy, standing))])
    successor = attach(S2, report(epoch=2, used=1))  # at the same address
    assert standings(orchestrator.tick(0, [successor])) == []
    assert phase(orchestrator) is ReplicaPhase.ACTIVE


def test_a_drained_replica_starts_afresh_in_the_next_epoch(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [ReportReceived(S1, left(1))])
    assert phase(orchestrator) is ReplicaPhase.DRAINED
    assert standings(orchestrator.tick(0, [attach(S2, report(epoch=2))])) == []
    assert phase(orchestrator) is ReplicaPhase.ACTIVE


def test_the_successor_of_a_process_that_left_starts_afresh(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [ReportReceived(S1, left(1, running=1))])
    elsewhere = replace(record(A), address="elsewhere:1")
    successor = ReplicaAttached(S2, elsewhere, said(report(epoch=2)))
    assert standings(orchestrator.tick(0, [successor])) == []
    assert phase(orchestrator) is ReplicaPhase.ACTIVE


def test_the_late_end_of_an_older_stream_detaches_nobody(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [attach(S2, report(number=1))])
    orchestrator.tick(0, [ReplicaDetached(S1, A)])
    (order,) = standings(orchestrator.tick(0, [DRAIN]))
    assert order.stream == S2


def test_a_ghost_of_an_earlier_epoch_cannot_attach(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [attach(S2, report(epoch=5))])
    orchestrator.tick(0, [attach(StreamId(3), report(epoch=4))])
    status = orchestrator.replica(A, 0)
    assert status is not None
    assert status.snapshot.epoch == 5


def test_reports_count_once_in_order_and_on_their_own_stream(orchestrator: Orchestrator) -> None:
    orchestrator.tick(0, [ReportReceived(S1, said(report(number=5, used=50)))])
    orchestrator.tick(0, [ReportReceived(S1, said(report(number=4, used=1)))])
    orchestrator.tick(0, [ReportReceived(S2, said(report(number=6, used=1)))])
    status = orchestrator.replica(A, 0)
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
    assert orchestrator.status(0) == ()


def test_a_replica_that_stalls_on_a_live_stream_is_kept_but_not_fresh(
    orchestrator: Orchestrator,
) -> None:
    orchestrator.tick(1_000 * SECOND)
    status = orchestrator.replica(A, 1_000 * SECOND)
    assert status is not None and not status.is_fresh
    again = ReportReceived(S1, said(report(number=1, used=50)))
    orchestrator.tick(1_000 * SECOND, [again])
    status = orchestrator.replica(A, 1_000 * SECOND)
    assert status is not None and status.is_fresh
    assert status.snapshot.blocks_used == 50


def test_commands_and_status_come_by_replica_id() -> None:
    orchestrator = Orchestrator(CONFIG, term=1)
    orchestrator.tick(0, [attach(S1, report(B)), attach(S2, report(A))])
    commands = orchestrator.tick(0, [StandingRequested(B, Standing.LEAVING), DRAIN])
    assert [command.replica_id for command in commands] == [A, B]
    assert [status.record.replica_id for status in orchestrator.status(0)] == [A, B]


# ---- warmth


def warm_order(commands: tuple[Command, ...]) -> list[ReplicaId] | None:
    """Whom a replica is told to ask, None without an order."""
    for command in commands:
        if isinstance(command, SendWarm):
            return [peer.replica_id for peer in command.peers]
    return None


def test_the_first_replica_is_told_that_nobody_can_warm_it() -> None:
    orchestrator = Orchestrator(CONFIG, term=1)
    assert orchestrator.tick(0, [attach(S1, report())]) == (SendWarm(S1, A, 1, ()),)


def test_a_cold_replica_is_sent_to_the_three_fullest_open_ones_of_its_card() -> None:
    orchestrator = Orchestrator(CONFIG, term=1)
    used = {"b": 10, "c": 40, "d": 20, "e": 30, "cordoned": 90, "idle": 0}
    for number, (name, blocks) in enumerate(used.items(), start=1):
        standing = Standing.CORDONED if name == "cordoned" else Standing.OPEN
        snapshot = report(ReplicaId(name), used=blocks)
        orchestrator.tick(0, [attach(StreamId(number), snapshot, standing)])
    foreign = replace(record(ReplicaId("foreign")), card=replace(CARD, revision="r2"))
    fuller = said(report(ReplicaId("foreign"), used=95))
    orchestrator.tick(0, [ReplicaAttached(StreamId(10), foreign, fuller)])
    commands = orchestrator.tick(0, [attach(StreamId(20), report())])
    assert warm_order(commands) == ["c", "e", "d"]
    (command,) = commands
    assert isinstance(command, SendWarm)
    assert command.peers[0] == Peer(ReplicaId("c"), record().address, 1)


def test_a_replica_is_warmed_once_for_each_epoch_and_only_if_it_holds_nothing() -> None:
    orchestrator = Orchestrator(CONFIG, term=1)
    assert warm_order(orchestrator.tick(0, [attach(S1, report())])) == []
    assert warm_order(orchestrator.tick(0, [attach(S2, report(number=1))])) is None
    assert warm_order(orchestrator.tick(0, [attach(S1, report(epoch=2))])) == []
    assert warm_order(orchestrator.tick(0, [attach(S1, report(epoch=3, used=1))])) is None
