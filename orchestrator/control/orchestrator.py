"""The control plane's brain: events in, commands out. No I/O, no clock, no waiting.

One Orchestrator is one leader's, for one term. It follows every attached
replica through one small table of phases, keeps repeating what was ordered
until a report shows that it happened, and looks at the fleet again and again
to order moves. It begins knowing only its config, with the knobs that were
turned: standings and sequences come with the replicas' reports, and with the
first ones the last moves of each, so that what another leader moved cools down
here, too. The decision log is each leader's own and ends with its term.

A replica whose stream ended is forgotten after a bound: a reconnect in between
finds its state again. One that is silent on a stream that lives is kept as it
last reported, but nothing moves from or to it; to end such a stream is its
owner's matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.control.decisions import Cause, Decision, DecisionKind, DecisionLog
from orchestrator.control.events import (
    Command,
    Event,
    MoveRequested,
    PolicyChanged,
    RebalanceRequested,
    ReplicaAttached,
    ReplicaDetached,
    Report,
    ReportReceived,
    SendMove,
    SendStanding,
    SendWarm,
    StandingRequested,
)
from orchestrator.control.move_totals import MoveTotals
from orchestrator.control.moves import Moves
from orchestrator.control.phases import objection
from orchestrator.control.tracked import ReplicaStatus, Tracked, attached
from orchestrator.policy.fleet import Fleet, MoveReason, OrderedMove
from orchestrator.policy.rebalance import Figures, MoveDecision, Rebalance, Stay, rebalance
from orchestrator.policy.rebalance_config import NS_PER_MS, RebalanceConfig
from protos.messages import ReplicaId, SequenceReport, Standing
from protos.moves import MoveId, MoveOrder, MoveReport

WARM_PEERS_MAX = 3


@dataclass(frozen=True, slots=True)
class OrchestratorConfig:
    resend_ns: int = 1_000_000_000  # of an order that shows no effect
    absence_ns_max: int = 3_000_000_000  # without a stream: forgotten
    report_age_ns_max: int = 2_000_000_000  # older: nothing moves from or to it
    decisions_max: int = 4096  # remembered; beyond, the oldest are forgotten
    rebalance: RebalanceConfig = field(default_factory=RebalanceConfig)


class Orchestrator:
    """Feed it every event, and an empty tick now and then; execute what it answers."""

    def __init__(self, config: OrchestratorConfig, term: int) -> None:
        self._config = config
        self._term = term
        self._policy = config.rebalance
        self._replicas: dict[ReplicaId, Tracked] = {}
        self._moves = Moves()
        self.move_totals = MoveTotals()
        self._log = DecisionLog(config.decisions_max)
        self._due: list[Command] = []  # decided in this tick
        self._moves_ordered = 0
        self._looked_ns: int | None = None
        self._look_now = False  # a move of a drain has ended: its place is free
        self._look_asked = False
        self._stays: dict[ReplicaId, Stay] = {}

    def tick(self, now_ns: int, events: Iterable[Event] = ()) -> tuple[Command, ...]:
        """Take in what happened and say what to send now: of each kind by replica id."""
        for event in events:
            self._apply(event, now_ns)
        self._forget_absent(now_ns)
        self._end_moves(self._moves.overdue(now_ns), now_ns)
        standings = self._standings_due(now_ns)
        if self._is_time_to_look(now_ns):
            self._look(now_ns)
        due, self._due = self._due, []
        return (*standings, *due)

    # ---- questions

    def status(self, now_ns: int) -> tuple[ReplicaStatus, ...]:
        """Every replica not yet forgotten, by replica id."""
        return tuple(
            tracked.status(is_fresh=self._is_fresh(tracked, now_ns))
            for _, tracked in sorted(self._replicas.items())
        )

    def replica(self, replica_id: ReplicaId, now_ns: int) -> ReplicaStatus | None:
        """One replica, or None when it never attached or was forgotten."""
        tracked = self._replicas.get(replica_id)
        if tracked is None:
            return None
        return tracked.status(is_fresh=self._is_fresh(tracked, now_ns))

    @property
    def policy(self) -> RebalanceConfig:
        return self._policy

    @property
    def decisions(self) -> DecisionLog:
        return self._log

    @property
    def moves(self) -> Moves:
        """Those under way and those that ended; to be read only."""
        return self._moves

    def plan(self, now_ns: int) -> Rebalance:
        """What a look at the fleet would order now. Nothing is ordered."""
        return rebalance(self._fleet(now_ns), self._policy)

    # ---- what happened

    def _apply(self, event: Event, now_ns: int) -> None:
        match event:
            case ReplicaAttached():
                self._attach(event, now_ns)
            case ReportReceived(stream, report):
                self._take_ends(report, now_ns)
                tracked = self._replicas.get(report.snapshot.replica_id)
                if tracked is not None and tracked.stream == stream:
                    self._observe(tracked, report, now_ns)
            case ReplicaDetached(stream, replica_id):
                tracked = self._replicas.get(replica_id)
                if tracked is not None and tracked.stream == stream:
                    tracked.stream = None
                    tracked.detached_ns = now_ns
            case StandingRequested(replica_id, standing):
                tracked = self._replicas.get(replica_id)
                if tracked is not None and objection(tracked.phase, standing) is None:
                    tracked.order(standing)
                    self._note_standing(tracked, Cause.OPERATOR, now_ns)
                    self._look_now = True
            case MoveRequested():
                self._move_by_hand(event, now_ns)
            case RebalanceRequested():
                self._look_asked = True
            case PolicyChanged(knob, policy):
                self._policy = policy
                self._note(Decision(DecisionKind.POLICY, Cause.OPERATOR, detail=knob), now_ns)

    def _attach(self, event: ReplicaAttached, now_ns: int) -> None:
        self._take_ends(event.report, now_ns)
        replica_id, epoch = event.record.replica_id, event.report.snapshot.epoch
        known = self._replicas.get(replica_id)
        if known is not None and epoch < known.snapshot.epoch:
            return  # a ghost of an earlier epoch
        tracked = attached(event.stream, event.record, event.report, now_ns, known)
        self._replicas[replica_id] = tracked
        if known is None or epoch > known.snapshot.epoch:
            self._end_moves(self._moves.of_source_gone(replica_id), now_ns)
            figures = (("epoch", float(epoch)),)
            cause = Cause.REPLICA
            self._note(Decision(DecisionKind.ATTACHED, cause, replica_id, figures=figures), now_ns)
            self._warm(tracked, now_ns)

    def _observe(self, tracked: Tracked, report: Report, now_ns: int) -> None:
        before = tracked.phase
        tracked.observe(report, now_ns)
        if tracked.phase is not before:
            self._note_standing(tracked, Cause.REPLICA, now_ns)

    def _forget_absent(self, now_ns: int) -> None:
        for replica_id, tracked in sorted(self._replicas.items()):
            since = tracked.detached_ns
            if since is not None and now_ns - since > self._config.absence_ns_max:
                del self._replicas[replica_id]
                self._stays.pop(replica_id, None)
                self._end_moves(self._moves.of_source_gone(replica_id), now_ns)
                self._note(Decision(DecisionKind.FORGOTTEN, Cause.ABSENCE, replica_id), now_ns)

    def _take_ends(self, report: Report, now_ns: int) -> None:
        """Of moves of ours, and of those that another leader ordered."""
        for told in report.moves:
            self._moves.inherit(report.snapshot.replica_id, told, now_ns)
        self._end_moves(report.moves, now_ns)

    def _end_moves(self, reports: Iterable[MoveReport], now_ns: int) -> None:
        for report in reports:
            move = self._moves.end(report, now_ns)
            if move is None:
                continue
            self.move_totals.add(move.reason, report)
            self._look_now |= move.reason is MoveReason.DRAIN
            self._note(
                Decision(
                    DecisionKind.MOVE_ENDED,
                    report.outcome,
                    move.source,
                    move.target,
                    move.sequence.request_id,
                    report.sequence_id,
                    report.move_id,
                    report.detail,
                    figures_of(report),
                ),
                now_ns,
            )

    # ---- what follows

    def _standings_due(self, now_ns: int) -> list[SendStanding]:
        """Orders not sent yet, and those of which the last sending shows no effect."""
        due = []
        for _, tracked in sorted(self._replicas.items()):
            if tracked.stream is None or not tracked.is_pending:
                continue
            sent_ns = tracked.sent_ns
            if sent_ns is None or now_ns - sent_ns >= self._config.resend_ns:
                tracked.sent_ns = now_ns
                epoch = tracked.snapshot.epoch
                due.append(SendStanding(tracked.stream, tracked.replica_id, epoch, tracked.wanted))
        return due

    def _warm(self, tracked: Tracked, now_ns: int) -> None:
        """Tell a replica that holds nothing who of its kind holds most."""
        snapshot, stream = tracked.snapshot, tracked.stream
        if stream is None or snapshot.blocks_free < snapshot.blocks_total:
            return
        peers = [
            other
            for other in self._replicas.values()
            if other.replica_id != tracked.replica_id
            and other.record.card == tracked.record.card
            and other.standing is Standing.OPEN
            and self._is_fresh(other, now_ns)
            and other.snapshot.blocks_free < other.snapshot.blocks_total
        ]
        fullest = sorted(peers, key=lambda other: (other.snapshot.blocks_free, other.replica_id))
        chosen = tuple(other.peer for other in fullest[:WARM_PEERS_MAX])
        self._due.append(SendWarm(stream, tracked.replica_id, snapshot.epoch, chosen))
        detail = " ".join(peer.replica_id for peer in chosen)
        self._note(
            Decision(DecisionKind.WARM, Cause.COLD, tracked.replica_id, detail=detail), now_ns
        )

    def _is_time_to_look(self, now_ns: int) -> bool:
        interval_ns = self._policy.interval_ms * NS_PER_MS
        is_due = self._looked_ns is None or now_ns - self._looked_ns >= interval_ns
        return is_due or self._look_now or self._look_asked

    def _look(self, now_ns: int) -> None:
        """Look at the fleet; order what follows."""
        balancing = self._policy.enabled or self._look_asked
        self._looked_ns = now_ns
        self._look_now = self._look_asked = False
        result = rebalance(self._fleet(now_ns), self._policy, balancing=balancing)
        for move in result.moves:
            self._move(self._next_move_id(now_ns), move, now_ns)
        stays = {stay.source: stay for stay in result.stays}
        for source, stay in stays.items():
            if self._stays.get(source) != stay:
                figures = (("sequences", float(stay.sequences)),)
                kind = DecisionKind.STAY
                self._note(Decision(kind, stay.reason, source, figures=figures), now_ns)
        self._stays = stays

    def _next_move_id(self, now_ns: int) -> MoveId:
        """Unique for ever, though a registry that was lost may begin its terms anew."""
        self._moves_ordered += 1
        return MoveId(f"{self._term}-{now_ns:x}-{self._moves_ordered}")

    def _move_by_hand(self, event: MoveRequested, now_ns: int) -> None:
        """Without a look at thresholds; the two replicas judge whether it is possible."""
        source = self._replicas.get(event.source)
        if source is None or self._moves.is_known(event.move_id):
            return
        for sequence in source.report.sequences:
            if sequence.sequence_id == event.sequence_id:
                by_hand = MoveDecision(
                    MoveReason.OPERATOR, event.source, event.target, sequence, ()
                )
                self._move(event.move_id, by_hand, now_ns)

    def _move(self, move_id: MoveId, decision: MoveDecision, now_ns: int) -> None:
        """Order it, if both ends are there."""
        source = self._replicas[decision.source]
        target = self._replicas.get(decision.target) if decision.target is not None else None
        if source.stream is None or (decision.target is not None and target is None):
            return
        sequence: SequenceReport = decision.sequence
        ordered = OrderedMove(
            move_id, source.replica_id, decision.target, sequence, decision.reason, now_ns
        )
        deadline_ms = self._policy.deadline_ms
        self._moves.begin(ordered, deadline_ms=deadline_ms)
        order = MoveOrder(
            move_id, sequence.sequence_id, target.peer if target is not None else None, deadline_ms
        )
        self._due.append(SendMove(source.stream, source.replica_id, source.snapshot.epoch, order))
        self._note(
            Decision(
                DecisionKind.MOVE,
                decision.reason,
                decision.source,
                decision.target,
                sequence.request_id,
                sequence.sequence_id,
                move_id,
                figures=decision.figures,
            ),
            now_ns,
        )

    # ---- the picture

    def _fleet(self, now_ns: int) -> Fleet:
        replicas = tuple(
            tracked.as_policies_see_it(is_fresh=self._is_fresh(tracked, now_ns))
            for _, tracked in sorted(self._replicas.items())
        )
        moves = self._moves
        return Fleet(now_ns, replicas, moves.under_way(), moves.ended(), moves.inherited())

    def _is_fresh(self, tracked: Tracked, now_ns: int) -> bool:
        return tracked.is_fresh(now_ns, self._config.report_age_ns_max)

    # ---- the log

    def _note(self, decision: Decision, now_ns: int) -> None:
        self._log.add(decision, now_ns)

    def _note_standing(self, tracked: Tracked, cause: Cause, now_ns: int) -> None:
        snapshot = tracked.snapshot
        sequences = float(snapshot.sequences_running + snapshot.sequences_waiting)
        self._note(
            Decision(
                DecisionKind.STANDING,
                cause,
                tracked.replica_id,
                detail=tracked.phase.value,
                figures=(("sequences", sequences),),
            ),
            now_ns,
        )


def figures_of(report: MoveReport) -> Figures:
    """What a move cost, for the log."""
    return (
        ("stages", float(report.stages)),
        ("blocks_sent", float(report.blocks_sent)),
        ("blocks_shared", float(report.blocks_shared)),
        ("bytes_sent", float(report.bytes_sent)),
        ("frozen_ms", report.frozen_ns / NS_PER_MS),
        ("total_ms", report.total_ns / NS_PER_MS),
    )
