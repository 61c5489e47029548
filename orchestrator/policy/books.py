"""Who may give what to whom, while moves are being decided.

The books of one look at the fleet: every replica's load, with the moves that
are under way and those decided so far already entered, and the bounds that
they leave. A move that is on its way counts at both ends. Its target may have
reserved the blocks already and is then seen fuller than it is, never emptier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from orchestrator.policy.fleet import (
    Choice,
    Fleet,
    FleetReplica,
    MoveReason,
    OrderedMove,
    choice_of,
)
from orchestrator.policy.load import Load, blocks_needed, load_of
from orchestrator.policy.rebalance_config import NS_PER_MS, RebalanceConfig
from protos.messages import ReplicaId, SequenceReport, Standing
from protos.moves import MoveOutcome

Pair = tuple[ReplicaId, ReplicaId]
# A target with which one of these was the end is left alone for a moment.
TARGET_FAILED = frozenset({MoveOutcome.DECLINED, MoveOutcome.LOST, MoveOutcome.LATE})
# Counted at its target for so long after its end: two report intervals.
SETTLE_NS = 500 * NS_PER_MS


class Books:
    """Loads and bounds; `enter` each move that is decided."""

    def __init__(self, fleet: Fleet, config: RebalanceConfig) -> None:
        self.config = config
        self.fleet = fleet
        self.loads: dict[ReplicaId, Load] = {
            replica.replica_id: load_of(replica, headroom_share=config.headroom_share)
            for replica in fleet.replicas
        }
        self._cards = {replica.replica_id: replica.card for replica in fleet.replicas}
        self._out: Counter[ReplicaId] = Counter()
        self._in: Counter[ReplicaId] = Counter()
        self._entered: set[Choice] = set()
        self._pairs_now: set[Pair] = set()
        cooling = fleet.since(config.cooldown_ms * NS_PER_MS)
        inherited = fleet.inherited_since(config.cooldown_ms * NS_PER_MS)
        tried = fleet.since(config.retry_ms * NS_PER_MS)
        balanced = fleet.since(3 * config.interval_ms * NS_PER_MS)
        self._failed_targets = {e.move.target for e in tried if e.outcome in TARGET_FAILED}
        self._tried = {(e.move.source, e.move.choice) for e in tried}
        self._resting = {e.move.choice for e in tried} | {
            e.move.choice for e in cooling if e.outcome is MoveOutcome.MOVED
        }
        self._resting |= {move.choice for move in inherited}
        self._pairs_lately = pairs_of([*fleet.moves, *(e.move for e in cooling)])
        self._pairs_lately |= {(move.source, move.target) for move in inherited}
        self._balancing = {
            move.source
            for move in (*fleet.moves, *(e.move for e in balanced))
            if move.reason is MoveReason.BALANCE
        }
        for move in fleet.moves:
            self._enter(move.source, move.target, move.sequence)
        for end in fleet.since(SETTLE_NS):
            if end.outcome is MoveOutcome.MOVED and end.move.target in self.loads:
                load = self.loads[end.move.target]
                self.loads[end.move.target] = load.with_(end.move.sequence)

    # ---- replicas

    def open(self) -> tuple[FleetReplica, ...]:
        """Replicas that stay and take work, of which the newest report is recent."""
        return tuple(
            replica
            for replica in self.fleet.replicas
            if replica.is_fresh
            and replica.standing is Standing.OPEN
            and not replica.snapshot.draining
        )

    def targets_of(self, source: FleetReplica) -> list[FleetReplica]:
        """Where its sequences may go at all, the most free first."""
        targets = [
            replica
            for replica in self.open()
            if replica.replica_id != source.replica_id
            and replica.card == source.card
            and replica.replica_id not in self._failed_targets
        ]
        return sorted(targets, key=lambda t: (-self.freeness(t), t.replica_id))

    def freeness(self, replica: FleetReplica) -> float:
        return self.loads[replica.replica_id].freeness

    def out_count(self, replica: FleetReplica) -> int:
        """Its moves out that are under way, with what it hands back."""
        return self._out[replica.replica_id]

    def in_count(self, replica: FleetReplica) -> int:
        return self._in[replica.replica_id]

    def is_pair_free(self, source: FleetReplica, target: FleetReplica) -> bool:
        """No move between the two in this look, and none lately the other way."""
        pair = (source.replica_id, target.replica_id)
        return pair not in self._pairs_now and pair[::-1] not in self._pairs_lately

    def is_balancing(self, source: FleetReplica) -> bool:
        """Whether it began to give sequences away and has not stopped for long."""
        return source.replica_id in self._balancing

    # ---- sequences

    def fits(self, sequence: SequenceReport, target: FleetReplica) -> bool:
        """Room for what it has and for its growth, beyond what others there will take."""
        return self.room_for(sequence, target) >= self.needed(sequence, target)

    def room_for(self, sequence: SequenceReport, target: FleetReplica) -> int:
        return self.loads[target.replica_id].room_for(sequence)

    def needed(self, sequence: SequenceReport, target: FleetReplica) -> int:
        return blocks_needed(
            sequence,
            block_size=self._cards[target.replica_id].block_size,
            growth_tokens=self.config.growth_tokens,
        )

    def is_worth_moving(self, sequence: SequenceReport) -> bool:
        """Running, able to move, far from its end, and not on its way already."""
        return (
            not sequence.is_waiting
            and sequence.is_movable
            and sequence.tokens_left_max >= self.config.tokens_left_min
            and choice_of(sequence) not in self._entered
        )

    def may_move(self, sequence: SequenceReport) -> bool:
        """Worth moving, and it did not move or fail to a short while ago."""
        return self.is_worth_moving(sequence) and choice_of(sequence) not in self._resting

    def may_leave(self, sequence: SequenceReport, source: FleetReplica) -> bool:
        """As for a drain: it may have come a moment ago, but was not just tried here."""
        choice = choice_of(sequence)
        return choice not in self._entered and (source.replica_id, choice) not in self._tried

    # ---- decisions

    def enter(
        self, source: FleetReplica, target: FleetReplica | None, sequence: SequenceReport
    ) -> None:
        """A move was decided."""
        if target is not None:
            pair = (source.replica_id, target.replica_id)
            self._pairs_now.add(pair)
            self._pairs_lately.add(pair)
        self._enter(source.replica_id, target.replica_id if target is not None else None, sequence)

    def _enter(self, source: ReplicaId, target: ReplicaId | None, sequence: SequenceReport) -> None:
        self._entered.add(choice_of(sequence))
        self._out[source] += 1
        if target is None:
            return
        self._in[target] += 1
        if source in self.loads:
            self.loads[source] = self.loads[source].without(sequence)
        if target in self.loads:
            self.loads[target] = self.loads[target].with_(sequence)


def pairs_of(moves: Iterable[OrderedMove]) -> set[Pair]:
    return {(move.source, move.target) for move in moves if move.target is not None}
