"""The replicas as rebalancing sees them: frozen, at one instant, moves under way included.

A `FleetReplica` is what one replica last reported about its blocks and its
sequences. `moves` are those ordered and not known to have ended; `ended` are
those that ended a short while ago, kept so that nothing moves back and forth
and nobody is asked again at once after he declined. `inherited` are those that
an earlier leader ordered: of them only what moved and between whom is known.

A sequence is the same one before and after a move by its `Choice`: the
request's id, which is its client's, and the number of the choice. Its sequence
id is only valid at one replica.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protos.messages import ModelCard, ReplicaId, RequestId, SequenceReport, Snapshot, Standing
from protos.moves import MoveId, MoveOutcome

Choice = tuple[RequestId, int]


class MoveReason(Enum):
    """Why a sequence is to leave its replica."""

    BALANCE = "balance"  # another replica has much more room for each of its sequences
    ROOM = "room"  # a waiting sequence fits nowhere, but would with this one elsewhere
    DRAIN = "drain"  # its replica is to be emptied
    OPERATOR = "operator"  # a person asked for it


@dataclass(frozen=True, slots=True)
class FleetReplica:
    """One replica, as it last reported."""

    snapshot: Snapshot
    card: ModelCard
    is_fresh: bool  # its stream is up and its report recent
    standing: Standing
    sequences: tuple[SequenceReport, ...] = ()

    @property
    def replica_id(self) -> ReplicaId:
        return self.snapshot.replica_id


@dataclass(frozen=True, slots=True)
class OrderedMove:
    """A move that was ordered, with the size that its sequence had then."""

    move_id: MoveId
    source: ReplicaId
    target: ReplicaId | None  # None: handed back
    sequence: SequenceReport
    reason: MoveReason
    ordered_ns: int

    @property
    def choice(self) -> Choice:
        return choice_of(self.sequence)


@dataclass(frozen=True, slots=True)
class EndedMove:
    """A move that ended a short while ago."""

    move: OrderedMove
    outcome: MoveOutcome
    ended_ns: int


@dataclass(frozen=True, slots=True)
class InheritedMove:
    """A sequence that moved by another leader's order, and when it was heard of."""

    source: ReplicaId
    target: ReplicaId
    choice: Choice
    heard_ns: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """All known replicas and moves at `now_ns`."""

    now_ns: int
    replicas: tuple[FleetReplica, ...]
    moves: tuple[OrderedMove, ...] = ()
    ended: tuple[EndedMove, ...] = ()
    inherited: tuple[InheritedMove, ...] = ()

    def since(self, age_ns: int) -> tuple[EndedMove, ...]:
        """The moves that ended no longer ago."""
        return tuple(e for e in self.ended if self.now_ns - e.ended_ns < age_ns)

    def inherited_since(self, age_ns: int) -> tuple[InheritedMove, ...]:
        """The moves of other leaders that were heard of no longer ago."""
        return tuple(m for m in self.inherited if self.now_ns - m.heard_ns < age_ns)


def choice_of(sequence: SequenceReport) -> Choice:
    """What a sequence stays known by when it moves."""
    return sequence.request_id, sequence.choice
