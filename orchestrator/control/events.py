"""What the Orchestrator is told and what it answers: plain data, without any transport.

Commands name the stream they go out on and the epoch they are meant for. The
leader's term is added by whoever sends them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from orchestrator.policy.rebalance_config import RebalanceConfig
from protos.messages import ReplicaId, SequenceId, SequenceReport, Snapshot, Standing
from protos.moves import MoveId, MoveOrder, MoveReport, Peer
from protos.registry import ReplicaRecord

StreamId = NewType("StreamId", int)


@dataclass(frozen=True, slots=True)
class Report:
    """All that a replica says at once."""

    snapshot: Snapshot
    standing: Standing
    sequences: tuple[SequenceReport, ...] = ()
    moves: tuple[MoveReport, ...] = ()  # newly ended; on a new stream all it remembers


@dataclass(frozen=True, slots=True)
class ReplicaAttached:
    """A replica opened a stream. `stream` grows: a late end of an older one is told apart."""

    stream: StreamId
    record: ReplicaRecord
    report: Report


@dataclass(frozen=True, slots=True)
class ReportReceived:
    stream: StreamId
    report: Report


@dataclass(frozen=True, slots=True)
class ReplicaDetached:
    stream: StreamId
    replica_id: ReplicaId


@dataclass(frozen=True, slots=True)
class StandingRequested:
    """An operator cordons (CORDONED), drains (LEAVING) or takes a replica back (OPEN)."""

    replica_id: ReplicaId
    standing: Standing


@dataclass(frozen=True, slots=True)
class MoveRequested:
    """An operator moves one sequence, under an id that he made up."""

    move_id: MoveId
    source: ReplicaId
    sequence_id: SequenceId
    target: ReplicaId


@dataclass(frozen=True, slots=True)
class RebalanceRequested:
    """Look at the fleet now, even if balancing is switched off."""


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """An operator turned one knob."""

    knob: str
    policy: RebalanceConfig


Event = (
    ReplicaAttached
    | ReportReceived
    | ReplicaDetached
    | StandingRequested
    | MoveRequested
    | RebalanceRequested
    | PolicyChanged
)


@dataclass(frozen=True, slots=True)
class SendStanding:
    """Tell a replica whether it takes work. Repeated until it reports so."""

    stream: StreamId
    replica_id: ReplicaId
    epoch: int
    standing: Standing


@dataclass(frozen=True, slots=True)
class SendMove:
    """Tell the source to move a sequence. Not repeated: one that is lost ends by its deadline."""

    stream: StreamId
    replica_id: ReplicaId
    epoch: int
    order: MoveOrder


@dataclass(frozen=True, slots=True)
class SendWarm:
    """Tell an empty replica with whose prefixes to begin; with none if `peers` is empty."""

    stream: StreamId
    replica_id: ReplicaId
    epoch: int
    peers: tuple[Peer, ...]


Command = SendStanding | SendMove | SendWarm
