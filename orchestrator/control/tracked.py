"""One replica as the Orchestrator follows it: its stream, its reports, what was ordered.

An order is *pending* from its request until a report shows it, after it was
sent at least once. While none is pending, the replica is believed: what it
says of its standing, because it shuts down or because an earlier leader told
it, becomes what is wanted.

A pending order survives a new epoch, and what was obeyed is kept by the
replica itself: losing a lease neither opens nor empties it. Another process
of the same name starts afresh.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.control.events import Report, StreamId
from orchestrator.control.phases import PHASE_OF, PHASES_AFTER, ReplicaPhase, is_empty
from orchestrator.policy.fleet import FleetReplica
from protos.messages import ReplicaId, SequenceReport, Snapshot, Standing
from protos.moves import Peer
from protos.registry import ReplicaRecord


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What the control plane knows of a replica."""

    record: ReplicaRecord
    snapshot: Snapshot
    phase: ReplicaPhase
    standing: Standing  # as it reports
    sequences: tuple[SequenceReport, ...]  # the largest ones
    is_fresh: bool


@dataclass(slots=True)
class Tracked:
    """The Orchestrator's own."""

    stream: StreamId | None  # None: between two streams
    record: ReplicaRecord
    report: Report
    reported_ns: int
    wanted: Standing
    phase: ReplicaPhase
    is_pending: bool = False
    sent_ns: int | None = None  # the pending order, last
    detached_ns: int | None = None  # when its stream ended

    @property
    def replica_id(self) -> ReplicaId:
        return self.record.replica_id

    @property
    def snapshot(self) -> Snapshot:
        return self.report.snapshot

    @property
    def peer(self) -> Peer:
        return Peer(self.replica_id, self.record.address, self.snapshot.epoch)

    @property
    def standing(self) -> Standing:
        """As policies see it: a replica that is to open again is spared until it has."""
        if self.wanted is Standing.OPEN and self.report.standing is not Standing.OPEN:
            return Standing.CORDONED
        return self.wanted

    def is_fresh(self, now_ns: int, age_ns_max: int) -> bool:
        return self.stream is not None and now_ns - self.reported_ns <= age_ns_max

    def as_policies_see_it(self, *, is_fresh: bool) -> FleetReplica:
        return FleetReplica(
            self.snapshot, self.record.card, is_fresh, self.standing, self.report.sequences
        )

    def status(self, *, is_fresh: bool) -> ReplicaStatus:
        return ReplicaStatus(
            self.record,
            self.snapshot,
            self.phase,
            self.report.standing,
            self.report.sequences,
            is_fresh,
        )

    # ---- what happens

    def order(self, standing: Standing) -> None:
        """An operator's wish; sent with the next tick."""
        if standing is self.wanted and not self.is_pending:
            return
        self.wanted = standing
        self.is_pending = True
        self.sent_ns = None
        self._follow()

    def observe(self, report: Report, now_ns: int) -> None:
        """Take in a report, unless a newer one was seen."""
        last, new = self.snapshot, report.snapshot
        if (new.epoch, new.number) > (last.epoch, last.number):
            self.report = report
            self.reported_ns = now_ns
            self._follow()

    def _follow(self) -> None:
        reported = self.report.standing
        if not self.is_pending:
            self.wanted = reported
        elif reported is self.wanted and self.sent_ns is not None:
            self.is_pending = False
        is_drained = self.phase is ReplicaPhase.DRAINED and self.wanted is Standing.LEAVING
        if not is_drained:
            self._enter(PHASE_OF[self.wanted])
        if self.wanted is reported is Standing.LEAVING and is_empty(self.snapshot):
            self._enter(ReplicaPhase.DRAINED)

    def _enter(self, phase: ReplicaPhase) -> None:
        if phase is not self.phase:
            assert phase in PHASES_AFTER[self.phase], f"{self.phase} -> {phase}"
            self.phase = phase


def attached(
    stream: StreamId, record: ReplicaRecord, report: Report, now_ns: int, known: Tracked | None
) -> Tracked:
    """A replica on a new stream, with what is known of it from an older one."""
    wanted = report.standing
    fresh = Tracked(stream, record, report, now_ns, wanted, PHASE_OF[wanted])
    if known is not None and not is_successor(record, report, known):
        fresh.phase = known.phase
        fresh.is_pending = known.is_pending
        fresh.wanted = known.wanted if known.is_pending else wanted
    fresh._follow()
    return fresh


def is_successor(record: ReplicaRecord, report: Report, known: Tracked) -> bool:
    """Whether this is another process of that name, to which no order was given.

    A process keeps its standing when it loses its lease; one that is open in a
    new epoch, though its name was seen to obey another order, has just begun.
    """
    is_renewed = report.snapshot.epoch > known.snapshot.epoch
    is_elsewhere = record.address != known.record.address
    has_forgotten = report.standing is Standing.OPEN is not known.report.standing
    return is_renewed and (is_elsewhere or has_forgotten)
