"""Fleets on paper: replicas with sequences, and what becomes of them when orders are obeyed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from orchestrator.policy.fleet import EndedMove, Fleet, FleetReplica, OrderedMove, choice_of
from orchestrator.policy.rebalance import MoveDecision
from protos.messages import (
    ModelCard,
    ReplicaId,
    RequestClass,
    RequestId,
    SequenceId,
    SequenceReport,
    Snapshot,
    Standing,
)
from protos.moves import MoveId, MoveOutcome

CARD = ModelCard("toy", "r1", "float32", block_size=16, context_tokens_max=4096, vocab_size=99)
BLOCKS = 100
SECOND = 1_000_000_000


def sequence(
    name: str,
    blocks: int = 10,
    *,
    own: int | None = None,
    left: int = 1000,
    request_class: RequestClass = RequestClass.AGENT,
    waiting: bool = False,
    movable: bool = True,
) -> SequenceReport:
    """One choice that fills its blocks but for the next token."""
    return SequenceReport(
        sequence_id=SequenceId(f"{name}/0"),
        request_id=RequestId(name),
        choice=0,
        request_class=request_class,
        tenant="",
        tokens=blocks * 16 - 1,
        blocks=0 if waiting else blocks,
        blocks_own=0 if waiting else (blocks if own is None else own),
        tokens_left_max=left,
        is_waiting=waiting,
        is_movable=movable,
    )


def replica(
    name: str,
    *sequences: SequenceReport,
    used: int | None = None,
    total: int = BLOCKS,
    standing: Standing = Standing.OPEN,
    card: ModelCard = CARD,
    is_fresh: bool = True,
) -> FleetReplica:
    """A replica with these sequences; `used` where they share blocks."""
    running = [s for s in sequences if not s.is_waiting]
    waiting = [s for s in sequences if s.is_waiting]
    used = sum(s.blocks for s in running) if used is None else used
    snapshot = Snapshot(
        replica_id=ReplicaId(name),
        epoch=1,
        number=0,
        blocks_total=total,
        blocks_free=total - used,
        blocks_cached=0,
        blocks_used=used,
        sequences_running=len(running),
        sequences_waiting=len(waiting),
        prefill_tokens_waiting=0,
        blocks_waiting=sum(-(-(s.tokens + 1) // 16) for s in waiting),
        draining=standing is not Standing.OPEN,
        step_ns=1,
    )
    return FleetReplica(snapshot, card, is_fresh, standing, sequences)


def fleet(*replicas: FleetReplica) -> Fleet:
    return Fleet(0, replicas)


@dataclass
class Played:
    """A fleet in which every order is obeyed a while later. Time passes between two looks."""

    replicas: dict[ReplicaId, FleetReplica]
    now_ns: int = 0
    under_way: list[OrderedMove] = field(default_factory=list)
    ended: list[EndedMove] = field(default_factory=list)
    ordered: int = 0

    def picture(self) -> Fleet:
        return Fleet(
            self.now_ns, tuple(self.replicas.values()), tuple(self.under_way), tuple(self.ended)
        )

    def order(self, decision: MoveDecision) -> None:
        self.ordered += 1
        self.under_way.append(
            OrderedMove(
                MoveId(f"m{self.ordered}"),
                decision.source,
                decision.target,
                decision.sequence,
                decision.reason,
                self.now_ns,
            )
        )

    def obey(self, move: OrderedMove) -> None:
        """The move succeeds; a sequence that is handed back goes out of the picture."""
        self.under_way.remove(move)
        outcome = MoveOutcome.MOVED if move.target is not None else MoveOutcome.HANDED_BACK
        self.ended.append(EndedMove(move, outcome, self.now_ns))
        source = self.replicas[move.source]
        kept = [s for s in source.sequences if choice_of(s) != move.choice]
        self._set(source, kept)
        if move.target is not None:
            target = self.replicas[move.target]
            arrived = replace(move.sequence, blocks_own=move.sequence.blocks)
            self._set(target, [*target.sequences, arrived])

    def _set(self, old: FleetReplica, sequences: list[SequenceReport]) -> None:
        renewed = replica(
            old.replica_id,
            *sequences,
            total=old.snapshot.blocks_total,
            standing=old.standing,
            card=old.card,
            is_fresh=old.is_fresh,
        )
        assert renewed.snapshot.blocks_free >= 0, f"{old.replica_id} took more than it has"
        self.replicas[old.replica_id] = renewed


def played(*replicas: FleetReplica) -> Played:
    return Played({r.replica_id: r for r in replicas})
