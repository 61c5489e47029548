"""The control plane's brain: what it moves, and what it remembers of that."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.control.decisions import Decision, DecisionKind
from orchestrator.control.events import (
    Command,
    MoveRequested,
    PolicyChanged,
    RebalanceRequested,
    ReplicaAttached,
    ReplicaDetached,
    Report,
    ReportReceived,
    SendMove,
    StandingRequested,
    StreamId,
)
from orchestrator.control.orchestrator import Orchestrator, OrchestratorConfig
from orchestrator.policy.fleet import MoveReason
from orchestrator.policy.rebalance import StayReason
from orchestrator.policy.rebalance_config import RebalanceConfig
from protos.messages import ReplicaId, RequestId, SequenceId, SequenceReport, Standing
from protos.moves import MoveId, MoveOutcome, MoveReport, Peer
from tests.unit.control.reports import MS, SECOND, A, B, record
from tests.unit.policy.fleets import replica, sequence

C = ReplicaId("c")
S1, S2 = StreamId(1), StreamId(2)
OFF = RebalanceConfig(enabled=False)


def report_of(
    name: ReplicaId,
    *sequences: SequenceReport,
    number: int = 0,
    epoch: int = 1,
    standing: Standing = Standing.OPEN,
    moves: tuple[MoveReport, ...] = (),
) -> Report:
    snapshot = replica(name, *sequences, standing=standing).snapshot
    return Report(replace(snapshot, number=number, epoch=epoch), standing, sequences, moves)


FULL = tuple(sequence(f"s{i}", 10) for i in range(9))


def cluster(
    policy: RebalanceConfig, *sequences: SequenceReport, standing: Standing = Standing.OPEN
) -> tuple[Orchestrator, list[SendMove]]:
    """Replica A with these sequences and B with none; the moves that follow at once."""
    orchestrator = Orchestrator(OrchestratorConfig(rebalance=policy), term=7)
    at_a = ReplicaAttached(S1, record(A), report_of(A, *sequences, standing=standing))
    at_b = ReplicaAttached(S2, record(B, "127.0.0.1:2"), report_of(B))
    return orchestrator, moves_in(orchestrator.tick(0, [at_a, at_b]))


def moves_in(commands: tuple[Command, ...]) -> list[SendMove]:
    return [command for command in commands if isinstance(command, SendMove)]


def ended(move: SendMove, outcome: MoveOutcome = MoveOutcome.MOVED) -> MoveReport:
    return MoveReport(move.order.move_id, move.order.sequence_id, outcome, frozen_ns=2 * MS)


def of_kind(orchestrator: Orchestrator, kind: DecisionKind) -> list[Decision]:
    return [decision for decision in orchestrator.decisions.last(100) if decision.kind is kind]


def test_an_uneven_fleet_is_balanced_by_an_order_to_the_fuller_one() -> None:
    orchestrator, (move,) = cluster(RebalanceConfig(), *FULL)
    assert (move.stream, move.replica_id, move.epoch) == (S1, A, 1)
    assert move.order.target == Peer(B, "127.0.0.1:2", 1)
    assert move.order.deadline_ms == RebalanceConfig().deadline_ms
    (decision,) = of_kind(orchestrator, DecisionKind.MOVE)
    assert (decision.reason, decision.move_id) == (MoveReason.BALANCE, move.order.move_id)
    assert {"source_freeness", "blocks_room"} <= dict(decision.figures).keys()


def test_balancing_waits_for_its_interval_and_can_be_switched_off_and_asked_for() -> None:
    orchestrator, moves = cluster(OFF, *FULL)
    assert moves == []
    assert moves_in(orchestrator.tick(10 * SECOND)) == []
    fresh = ReportReceived(S1, report_of(A, *FULL, number=1))
    alive = ReportReceived(S2, report_of(B, number=1))
    assert moves_in(orchestrator.tick(10 * SECOND, [fresh, alive])) == []
    assert len(orchestrator.plan(10 * SECOND).moves) == 1
    assert len(moves_in(orchestrator.tick(10 * SECOND, [RebalanceRequested()]))) == 1
    orchestrator.tick(10 * SECOND, [PolicyChanged("enabled", RebalanceConfig())])
    assert orchestrator.policy.enabled


def test_a_move_is_under_way_until_its_source_reports_the_end() -> None:
    orchestrator, (move,) = cluster(RebalanceConfig(), *FULL)
    assert [m.move_id for m in orchestrator.moves.under_way()] == [move.order.move_id]
    left = report_of(A, *FULL[1:], number=1, moves=(ended(move),))
    orchestrator.tick(100 * MS, [ReportReceived(S1, left)])
    assert orchestrator.moves.under_way() == ()
    assert orchestrator.moves.report(move.order.move_id) == ended(move)
    (decision,) = of_kind(orchestrator, DecisionKind.MOVE_ENDED)
    assert (decision.reason, decision.replica_id, decision.target) == (MoveOutcome.MOVED, A, B)
    assert dict(decision.figures)["frozen_ms"] == 2


def test_an_end_that_is_told_again_or_of_a_stranger_changes_nothing() -> None:
    orchestrator, (move,) = cluster(RebalanceConfig(), *FULL)
    stranger = MoveReport(MoveId("of another leader"), SequenceId("x/0"), MoveOutcome.MOVED)
    for number in (1, 2):
        told = report_of(A, *FULL[1:], number=number, moves=(ended(move), stranger))
        orchestrator.tick(0, [ReportReceived(S1, told)])
    assert len(of_kind(orchestrator, DecisionKind.MOVE_ENDED)) == 1
    assert orchestrator.moves.report(stranger.move_id) is None


def came(name: str) -> MoveReport:
    """What B says of a sequence that an earlier leader moved from B to A."""
    return MoveReport(
        MoveId(f"6-{name}"),
        SequenceId(f"there:{name}/0"),
        MoveOutcome.MOVED,
        target=A,
        request_id=RequestId(name),
    )


def test_a_new_leader_sends_nothing_straight_back_that_an_earlier_one_moved() -> None:
    orchestrator = Orchestrator(OrchestratorConfig(), term=7)
    told = report_of(B, moves=(came("s0"),))
    at_a = ReplicaAttached(S1, record(A), report_of(A, *FULL))
    at_b = ReplicaAttached(S2, record(B, "127.0.0.1:2"), told)
    assert moves_in(orchestrator.tick(0, [at_b, at_a])) == []
    assert of_kind(orchestrator, DecisionKind.MOVE_ENDED) == []
    for second in (9, 10):  # told again in between, on a new stream: it cools down once
        alive = ReportReceived(S1, report_of(A, *FULL, number=second))
        again = ReplicaAttached(
            S2,
            record(B, "127.0.0.1:2"),
            replace(told, snapshot=replace(told.snapshot, number=second)),
        )
        moves = moves_in(orchestrator.tick(second * SECOND, [alive, again]))
        assert len(moves) == (second == 10)


def test_what_came_by_an_earlier_leaders_order_is_not_sent_on_at_once() -> None:
    """Not to a third replica either; what did not come by a move may go there."""
    orchestrator = Orchestrator(OrchestratorConfig(), term=7)
    here = [replace(s, is_movable=s is FULL[0]) for s in FULL]
    attached = [
        ReplicaAttached(S2, record(B, "127.0.0.1:2"), report_of(B, moves=(came("s0"),))),
        ReplicaAttached(S1, record(A), report_of(A, *here)),
        ReplicaAttached(StreamId(3), record(C, "127.0.0.1:3"), report_of(C)),
    ]
    assert moves_in(orchestrator.tick(0, attached)) == []
    movable = ReportReceived(S1, report_of(A, *FULL, number=1))
    (move,) = moves_in(orchestrator.tick(SECOND, [movable]))
    assert move.order.target == Peer(C, "127.0.0.1:3", 1)


def test_a_move_that_was_given_up_cools_down_when_it_turns_out_to_have_moved() -> None:
    orchestrator, (move,) = cluster(RebalanceConfig(), *FULL)
    lost = 13 * SECOND
    orchestrator.tick(lost)
    late = replace(ended(move), target=B, request_id=FULL[0].request_id)
    orchestrator.tick(lost, [ReportReceived(S1, report_of(A, *FULL[1:], number=1, moves=(late,)))])
    assert [(m.source, m.target) for m in orchestrator.moves.inherited()] == [(A, B)]
    report = orchestrator.moves.report(move.order.move_id)
    assert report is not None and report.outcome is MoveOutcome.LOST


def test_a_move_of_which_nobody_says_the_end_is_given_up() -> None:
    orchestrator, (move,) = cluster(RebalanceConfig(), *FULL)
    orchestrator.tick(12 * SECOND)
    assert len(orchestrator.moves.under_way()) == 1
    orchestrator.tick(12 * SECOND + 1)
    assert orchestrator.moves.under_way() == ()
    report = orchestrator.moves.report(move.order.move_id)
    assert report is not None
    assert report.outcome is MoveOutcome.LOST


def test_the_moves_of_a_source_that_is_gone_are_over() -> None:
    for gone in (
        [ReplicaDetached(S1, A)],
        [ReplicaAttached(StreamId(3), record(A), report_of(A, epoch=2))],
    ):
        orchestrator, _ = cluster(RebalanceConfig(), *FULL)
        orchestrator.tick(SECOND, gone)
        orchestrator.tick(SECOND + 3 * SECOND + 1)
        assert orchestrator.moves.under_way() == ()


def test_a_drain_moves_what_runs_and_hands_back_what_waits() -> None:
    orchestrator, _ = cluster(OFF, FULL[0], sequence("w", waiting=True))
    moves = moves_in(orchestrator.tick(0, [StandingRequested(A, Standing.LEAVING)]))
    assert [(m.order.sequence_id, m.order.target is None) for m in moves] == [
        ("w/0", True),
        ("s0/0", False),
    ]


def test_a_place_that_gets_free_in_a_drain_is_taken_at_once() -> None:
    """Without waiting for the interval."""
    policy = replace(OFF, drain_moves_max=1)
    orchestrator, (first,) = cluster(policy, *FULL[:2], standing=Standing.LEAVING)
    assert moves_in(orchestrator.tick(1)) == []
    left = report_of(A, FULL[1], number=1, standing=Standing.LEAVING, moves=(ended(first),))
    (second,) = moves_in(orchestrator.tick(2, [ReportReceived(S1, left)]))
    assert second.order.sequence_id != first.order.sequence_id
    assert second.order.move_id != first.order.move_id


def test_what_cannot_leave_is_noted_once_until_it_changes() -> None:
    orchestrator, _ = cluster(OFF, sequence("huge", 100), standing=Standing.LEAVING)
    for number in range(1, 5):
        orchestrator.tick(number * SECOND, [ReportReceived(S2, report_of(B, number=number))])
        told = report_of(A, sequence("huge", 100), number=number, standing=Standing.LEAVING)
        orchestrator.tick(number * SECOND, [ReportReceived(S1, told)])
    (stay,) = of_kind(orchestrator, DecisionKind.STAY)
    assert (stay.reason, stay.replica_id) == (StayReason.NO_ROOM, A)


def test_a_move_by_hand_needs_no_threshold_and_happens_once() -> None:
    orchestrator, _ = cluster(OFF, FULL[0])
    by_hand = MoveRequested(MoveId("mine"), A, FULL[0].sequence_id, B)
    (move,) = moves_in(orchestrator.tick(0, [by_hand]))
    assert (move.order.move_id, move.order.target) == ("mine", Peer(B, "127.0.0.1:2", 1))
    assert moves_in(orchestrator.tick(0, [by_hand])) == []


def test_a_move_by_hand_of_what_is_gone_is_not_begun() -> None:
    orchestrator, _ = cluster(OFF, FULL[0])
    stranger = MoveRequested(MoveId("1"), A, SequenceId("nobody/0"), B)
    nowhere = MoveRequested(MoveId("2"), A, FULL[0].sequence_id, ReplicaId("nowhere"))
    assert moves_in(orchestrator.tick(0, [stranger, nowhere])) == []
    assert not orchestrator.moves.is_known(MoveId("1"))
    assert not orchestrator.moves.is_known(MoveId("2"))


def test_decisions_can_be_asked_by_request_and_by_replica_and_are_bounded() -> None:
    orchestrator, (move,) = cluster(RebalanceConfig(), *FULL)
    (mine,) = orchestrator.decisions.last(10, request_id=RequestId(move.order.sequence_id[:-2]))
    assert mine.kind is DecisionKind.MOVE
    at_b = orchestrator.decisions.last(10, replica_id=B)
    assert {d.kind for d in at_b} == {DecisionKind.ATTACHED, DecisionKind.WARM, DecisionKind.MOVE}
    assert [d.number for d in orchestrator.decisions.last(2)] == [3, 4]
    small = Orchestrator(OrchestratorConfig(decisions_max=2), term=1)
    for number in range(5):
        at = StreamId(number)
        small.tick(0, [ReplicaAttached(at, record(A), report_of(A, epoch=number + 1))])
    assert [d.number for d in small.decisions.last(10)] == [9, 10]


def test_two_leaders_never_give_the_same_name_to_a_move() -> None:
    names = set()
    for term in (1, 2):
        orchestrator = Orchestrator(OrchestratorConfig(), term)
        at_a = ReplicaAttached(S1, record(A), report_of(A, *FULL))
        at_b = ReplicaAttached(S2, record(B), report_of(B))
        (move,) = moves_in(orchestrator.tick(0, [at_a, at_b]))
        names.add(move.order.move_id)
    assert len(names) == 2


def test_what_a_move_came_to_is_counted_once_however_often_it_is_reported() -> None:
    orchestrator, (move,) = cluster(RebalanceConfig(), *FULL)
    for number in (1, 2):
        told = report_of(A, *FULL, number=number, moves=(ended(move),))
        orchestrator.tick(number * MS, [ReportReceived(S1, told)])
    totals = orchestrator.move_totals
    assert totals.ended[MoveReason.BALANCE, MoveOutcome.MOVED] == 1
    assert totals.downtime.total_s == 0.002
