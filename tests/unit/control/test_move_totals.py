from __future__ import annotations

from orchestrator.control.move_totals import MoveTotals
from orchestrator.policy.fleet import MoveReason
from protos.messages import SequenceId
from protos.moves import MoveId, MoveOutcome, MoveReport


def report(outcome: MoveOutcome, *, sent: int = 0, shared: int = 0, frozen: int = 0) -> MoveReport:
    return MoveReport(
        MoveId("m"),
        SequenceId("s"),
        outcome,
        blocks_sent=sent,
        blocks_shared=shared,
        frozen_ns=frozen,
    )


def test_moves_are_counted_by_why_and_how_and_the_blocks_of_all_of_them() -> None:
    totals = MoveTotals()
    totals.add(MoveReason.DRAIN, report(MoveOutcome.MOVED, sent=5, shared=2, frozen=3_000_000))
    totals.add(MoveReason.DRAIN, report(MoveOutcome.LATE, sent=4))
    assert totals.ended[MoveReason.DRAIN, MoveOutcome.MOVED] == 1
    assert totals.ended[MoveReason.DRAIN, MoveOutcome.LATE] == 1
    assert totals.ended[MoveReason.ROOM, MoveOutcome.MOVED] == 0
    assert (totals.blocks_sent, totals.blocks_shared) == (9, 2)


def test_only_what_moved_was_down() -> None:
    totals = MoveTotals()
    totals.add(MoveReason.BALANCE, report(MoveOutcome.MOVED, frozen=3_000_000))
    totals.add(MoveReason.BALANCE, report(MoveOutcome.DECLINED, frozen=9_000_000))
    assert totals.downtime.total_s == 0.003
