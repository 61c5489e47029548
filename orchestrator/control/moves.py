"""Moves from their order to their end: what the source reports, or silence for too long.

A move that nobody reports the end of is over for us when its deadline has
passed with some grace, or when its source is gone. How it ended stays as it was
said then, though a report comes later.

Ended moves are remembered twice: for the policy for as long as its longest
cooldown may be, and their reports by id for whoever asked for the move. What is
reported to have moved though it was not ours, or was given up, is inherited:
it cools down from when it is heard of. All are bounded; the oldest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from orchestrator.policy.fleet import EndedMove, InheritedMove, OrderedMove
from protos.messages import ReplicaId
from protos.moves import MoveId, MoveOutcome, MoveReport

ENDED_MAX = 4096
NS_PER_MS = 1_000_000
REPORT_GRACE_NS = 2_000 * NS_PER_MS  # for the report of an end to arrive
SILENT = "its source reported no end of it"
GONE = "its source went away"


class Moves:
    """Owner of the moves under way, and of the memory of those that ended."""

    def __init__(self) -> None:
        self._under_way: dict[MoveId, OrderedMove] = {}
        self._deadlines: dict[MoveId, int] = {}
        self._ended: deque[EndedMove] = deque(maxlen=ENDED_MAX)
        self._reports: OrderedDict[MoveId, MoveReport] = OrderedDict()
        self._inherited: OrderedDict[MoveId, InheritedMove] = OrderedDict()

    def under_way(self) -> tuple[OrderedMove, ...]:
        """In the order in which they were ordered."""
        return tuple(self._under_way.values())

    def ended(self) -> tuple[EndedMove, ...]:
        return tuple(self._ended)

    def inherited(self) -> tuple[InheritedMove, ...]:
        return tuple(self._inherited.values())

    def report(self, move_id: MoveId) -> MoveReport | None:
        """How a move ended, unless it has not, or so long ago that nobody remembers."""
        return self._reports.get(move_id)

    def is_known(self, move_id: MoveId) -> bool:
        return move_id in self._under_way or move_id in self._reports

    def begin(self, move: OrderedMove, *, deadline_ms: int) -> None:
        assert not self.is_known(move.move_id), "a move's id is its own for ever"
        self._under_way[move.move_id] = move
        self._deadlines[move.move_id] = move.ordered_ns + deadline_ms * NS_PER_MS + REPORT_GRACE_NS

    def end(self, report: MoveReport, now_ns: int) -> OrderedMove | None:
        """The move that ended now; None for one that ended before or was never ordered."""
        move = self._under_way.pop(report.move_id, None)
        if move is None:
            return None
        del self._deadlines[report.move_id]
        self._ended.append(EndedMove(move, report.outcome, now_ns))
        self._reports[report.move_id] = report
        if len(self._reports) > ENDED_MAX:
            self._reports.popitem(last=False)
        return move

    def inherit(self, source: ReplicaId, report: MoveReport, now_ns: int) -> None:
        """Take in what `source` moved for somebody else. Idempotent; others change nothing."""
        is_ours = report.move_id in self._under_way or self.report(report.move_id) == report
        if is_ours or report.move_id in self._inherited:
            return
        if report.target is None or report.request_id is None:
            return  # nothing has moved
        choice = (report.request_id, report.choice)
        self._inherited[report.move_id] = InheritedMove(source, report.target, choice, now_ns)
        if len(self._inherited) > ENDED_MAX:
            self._inherited.popitem(last=False)

    def overdue(self, now_ns: int) -> tuple[MoveReport, ...]:
        """What must be said of moves whose source says nothing. To be given to `end`."""
        return self._given_up(lambda move: now_ns > self._deadlines[move.move_id], SILENT)

    def of_source_gone(self, source: ReplicaId) -> tuple[MoveReport, ...]:
        """The same for moves whose source is no more. To be given to `end`."""
        return self._given_up(lambda move: move.source == source, GONE)

    def _given_up(
        self, is_given_up: Callable[[OrderedMove], bool], sentence: str
    ) -> tuple[MoveReport, ...]:
        return tuple(
            MoveReport(move.move_id, move.sequence.sequence_id, MoveOutcome.LOST, sentence)
            for move in self._under_way.values()
            if is_given_up(move)
        )
