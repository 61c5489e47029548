"""The control plane's brain: events in, commands out. No I/O, no clock, no waiting.

It follows every attached replica through one small table of states and keeps
repeating what was ordered until a report shows that it happened. Commands
name the epoch they are meant for and may arrive twice. A replica whose stream
ended is forgotten after a bound: a reconnect in between finds its state again.
One that is silent on a stream that lives is kept as it last reported; to end
such a stream is its owner's matter.

An ordered drain survives a new epoch while it is under way, since losing a
lease does not empty a replica. A drained replica that comes back under a new
epoch starts afresh.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NewType

from protos.messages import ReplicaId, Snapshot
from protos.registry import ReplicaRecord

StreamId = NewType("StreamId", int)


class ReplicaPhase(Enum):
    """Where a replica stands between taking work and being empty for good."""

    ACTIVE = "active"
    DRAINING = "draining"  # ordered to, or reports that it does
    DRAINED = "drained"  # takes no work and has none left


PHASES_AFTER: dict[ReplicaPhase, frozenset[ReplicaPhase]] = {
    ReplicaPhase.ACTIVE: frozenset({ReplicaPhase.DRAINING}),
    ReplicaPhase.DRAINING: frozenset({ReplicaPhase.DRAINED}),
    ReplicaPhase.DRAINED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class ReplicaAttached:
    """A replica opened a stream. `stream` grows: a late end of an older one is told apart."""

    stream: StreamId
    record: ReplicaRecord
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class ReportReceived:
    stream: StreamId
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class ReplicaDetached:
    stream: StreamId
    replica_id: ReplicaId


@dataclass(frozen=True, slots=True)
class DrainRequested:
    replica_id: ReplicaId


Event = ReplicaAttached | ReportReceived | ReplicaDetached | DrainRequested


@dataclass(frozen=True, slots=True)
class SendDrain:
    """Tell a replica to stop taking work, on the stream that it holds."""

    stream: StreamId
    replica_id: ReplicaId
    epoch: int


Command = SendDrain


@dataclass(frozen=True, slots=True)
class OrchestratorConfig:
    drain_resend_ns: int = 1_000_000_000
    absence_ns_max: int = 3_000_000_000  # without a stream: forgotten


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What the control plane knows of a replica."""

    record: ReplicaRecord
    snapshot: Snapshot
    phase: ReplicaPhase


@dataclass(slots=True)
class Tracked:
    """One replica; the Orchestrator's own."""

    stream: StreamId | None  # None: between two streams
    record: ReplicaRecord
    snapshot: Snapshot
    detached_ns: int | None = None  # when its stream ended
    phase: ReplicaPhase = ReplicaPhase.ACTIVE
    drain_sent_ns: int | None = None

    def enter(self, phase: ReplicaPhase) -> None:
        assert phase in PHASES_AFTER[self.phase], f"{self.phase} -> {phase}"
        self.phase = phase

    def status(self) -> ReplicaStatus:
        return ReplicaStatus(self.record, self.snapshot, self.phase)


class Orchestrator:
    """Feed it every event, and an empty tick now and then; execute what it answers."""

    def __init__(self, config: OrchestratorConfig) -> None:
        self._config = config
        self._replicas: dict[ReplicaId, Tracked] = {}

    def tick(self, now_ns: int, events: Iterable[Event] = ()) -> tuple[Command, ...]:
        """Take in what happened and say what to send now, by replica id."""
        for event in events:
            self._apply(event, now_ns)
        self._forget_absent(now_ns)
        due = [
            command
            for _, tracked in sorted(self._replicas.items())
            if (command := self._drain_due(tracked, now_ns)) is not None
        ]
        return tuple(due)

    def status(self) -> tuple[ReplicaStatus, ...]:
        """Every replica not yet forgotten, by replica id."""
        return tuple(tracked.status() for _, tracked in sorted(self._replicas.items()))

    def replica(self, replica_id: ReplicaId) -> ReplicaStatus | None:
        """One replica, or None when it never attached or was forgotten."""
        tracked = self._replicas.get(replica_id)
        return tracked.status() if tracked is not None else None

    def _apply(self, event: Event, now_ns: int) -> None:
        match event:
            case ReplicaAttached():
                self._attach(event)
            case ReportReceived(stream, snapshot):
                tracked = self._replicas.get(snapshot.replica_id)
                if tracked is not None and tracked.stream == stream:
                    observe(tracked, snapshot)
            case ReplicaDetached(stream, replica_id):
                tracked = self._replicas.get(replica_id)
                if tracked is not None and tracked.stream == stream:
                    tracked.stream = None
                    tracked.detached_ns = now_ns
            case DrainRequested(replica_id):
                tracked = self._replicas.get(replica_id)
                if tracked is not None and tracked.phase is ReplicaPhase.ACTIVE:
                    tracked.enter(ReplicaPhase.DRAINING)

    def _attach(self, event: ReplicaAttached) -> None:
        replica_id = event.record.replica_id
        known = self._replicas.get(replica_id)
        if known is not None and event.snapshot.epoch < known.snapshot.epoch:
            return  # a ghost of an earlier epoch
        fresh = Tracked(event.stream, event.record, event.snapshot)
        renewed = known is not None and event.snapshot.epoch > known.snapshot.epoch
        if known is not None and not (renewed and known.phase is ReplicaPhase.DRAINED):
            fresh.phase = known.phase
        self._replicas[replica_id] = fresh
        follow(fresh)

    def _forget_absent(self, now_ns: int) -> None:
        self._replicas = {
            replica_id: tracked
            for replica_id, tracked in self._replicas.items()
            if tracked.detached_ns is None
            or now_ns - tracked.detached_ns <= self._config.absence_ns_max
        }

    def _drain_due(self, tracked: Tracked, now_ns: int) -> SendDrain | None:
        """The order to send now: none is pending, or the last one shows no effect yet."""
        if tracked.phase is not ReplicaPhase.DRAINING or tracked.snapshot.draining:
            return None
        if tracked.stream is None:
            return None
        sent_ns = tracked.drain_sent_ns
        if sent_ns is not None and now_ns - sent_ns < self._config.drain_resend_ns:
            return None
        tracked.drain_sent_ns = now_ns
        return SendDrain(tracked.stream, tracked.record.replica_id, tracked.snapshot.epoch)


def observe(tracked: Tracked, snapshot: Snapshot) -> None:
    """Take in a report, unless a newer one was seen."""
    last = tracked.snapshot
    if (snapshot.epoch, snapshot.number) > (last.epoch, last.number):
        tracked.snapshot = snapshot
        follow(tracked)


def follow(tracked: Tracked) -> None:
    """Let the phase follow what the last report shows."""
    snapshot = tracked.snapshot
    if snapshot.draining and tracked.phase is ReplicaPhase.ACTIVE:
        tracked.enter(ReplicaPhase.DRAINING)
    is_empty = snapshot.sequences_running + snapshot.sequences_waiting == 0
    if snapshot.draining and is_empty and tracked.phase is ReplicaPhase.DRAINING:
        tracked.enter(ReplicaPhase.DRAINED)
