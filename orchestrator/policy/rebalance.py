"""Decide which sequences move where: pure, from one frozen picture of the fleet.

Three reasons, in this order. *Drain*: a replica that is to be emptied gives
its running sequences to whoever has most room, and its waiting ones back to
their gateways. *Room*: a sequence waits and fits nowhere, though the fleet
together has the blocks: others make room for it where it waits
(de-fragmentation). *Balance*: from the least to the most free.

Why it comes to rest. A balancing move must leave the poorer of its two
replicas better off by `gain_min`, counted carefully (load.py). So the sorted
freenesses of the fleet grow lexicographically with each move, and no state of
the fleet comes twice. Between two looks, cooldowns keep an order from being
repeated or undone before reports show it. What fits nowhere waits; nothing is
preempted or thrown out to make a move possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from orchestrator.policy.books import Books
from orchestrator.policy.fleet import Fleet, FleetReplica, MoveReason
from orchestrator.policy.load import blocks_of
from orchestrator.policy.rebalance_config import RebalanceConfig
from protos.messages import ReplicaId, SequenceReport, Standing

Figures = tuple[tuple[str, float], ...]
TARGETS_TRIED = 4  # for one source in one look: those with the widest gaps
LIFE_TOKENS_FULL = 1024  # a sequence with more left is worth no more: it may stop any time


@dataclass(frozen=True, slots=True)
class MoveDecision:
    """One sequence is to leave `source`. Without a target it is handed back."""

    reason: MoveReason
    source: ReplicaId
    target: ReplicaId | None
    sequence: SequenceReport
    figures: Figures  # what it was decided by, named


class StayReason(Enum):
    """Why a replica that is to be emptied is not, yet."""

    NO_TARGET = "no_target"  # no other replica of its card takes work
    NO_ROOM = "no_room"  # none of them has the blocks


@dataclass(frozen=True, slots=True)
class Stay:
    """Sequences that should leave `source` and cannot."""

    reason: StayReason
    source: ReplicaId
    sequences: int


@dataclass(frozen=True, slots=True)
class Rebalance:
    """What one look at the fleet led to."""

    moves: tuple[MoveDecision, ...] = ()
    stays: tuple[Stay, ...] = ()


def rebalance(fleet: Fleet, config: RebalanceConfig, *, balancing: bool = True) -> Rebalance:
    """The moves to order now. Without `balancing`, only those of drains."""
    books = Books(fleet, config)
    moves: list[MoveDecision] = []
    stays: list[Stay] = []
    for replica in fleet.replicas:
        if replica.is_fresh and replica.standing is Standing.LEAVING:
            moves += handed_back(books, replica)
            drained, stay = drain(books, replica)
            moves += drained
            stays += stay
    if balancing:
        moves += make_room(books)
        moves += balance(books)
    return Rebalance(tuple(moves), tuple(stays))


# ---- drain


def handed_back(books: Books, source: FleetReplica) -> list[MoveDecision]:
    """What waits goes where it can begin, as soon as anybody takes work."""
    if not books.targets_of(source):
        return []
    waiting = [s for s in source.sequences if s.is_waiting and books.may_leave(s, source)]
    free = max(0, books.config.drain_moves_max - books.out_count(source))
    for sequence in waiting[:free]:
        books.enter(source, None, sequence)
    figures = (("sequences_waiting", float(source.snapshot.sequences_waiting)),)
    return [
        MoveDecision(MoveReason.DRAIN, source.replica_id, None, sequence, figures)
        for sequence in waiting[:free]
    ]


def drain(books: Books, source: FleetReplica) -> tuple[list[MoveDecision], list[Stay]]:
    """The largest first, each to the most free replica that has room for it."""
    leaving = [
        s for s in source.sequences if books.is_worth_moving(s) and books.may_leave(s, source)
    ]
    moves, left = [], 0
    for sequence in sorted(leaving, key=lambda s: (-s.blocks, s.sequence_id)):
        if books.out_count(source) >= books.config.drain_moves_max:
            break
        fitting = [t for t in books.targets_of(source) if books.fits(sequence, t)]
        ready = [t for t in fitting if books.in_count(t) < books.config.drain_moves_max]
        if ready:
            moves.append(decide(books, MoveReason.DRAIN, source, ready[0], sequence))
        left += not fitting
    if not left:
        return moves, []
    reason = StayReason.NO_ROOM if books.targets_of(source) else StayReason.NO_TARGET
    return moves, [Stay(reason, source.replica_id, left)]


# ---- room for one that waits


def make_room(books: Books) -> list[MoveDecision]:
    """For each waiting head that fits nowhere, if all that must leave can leave."""
    moves: list[MoveDecision] = []
    for source in books.open():
        head = waiting_head(source)
        if head is None:
            continue
        missing = head_demand(source, head) - head_room(books, source)
        if missing <= 0 or fits_elsewhere(books, source, head):
            continue
        for sequence, target in way_out(books, source, head, missing):
            moves.append(decide(books, MoveReason.ROOM, source, target, sequence))
    return moves


def waiting_head(replica: FleetReplica) -> SequenceReport | None:
    """The first one in line, as far as reports tell: of the most urgent class."""
    waiting = [sequence for sequence in replica.sequences if sequence.is_waiting]
    return min(waiting, key=lambda s: s.request_class.rank, default=None)


def head_demand(source: FleetReplica, head: SequenceReport) -> int:
    """Less than its length says when others hold its beginning: reports count that."""
    return min(blocks_of(head, source.card.block_size), source.snapshot.blocks_waiting)


def head_room(books: Books, source: FleetReplica) -> int:
    """Blocks that it finds once the moves under way have ended."""
    load = books.loads[source.replica_id]
    return load.blocks_total - load.blocks_used


def fits_elsewhere(books: Books, source: FleetReplica, head: SequenceReport) -> bool:
    return any(books.fits(head, target) for target in books.targets_of(source))


def way_out(
    books: Books, source: FleetReplica, head: SequenceReport, missing: int
) -> list[tuple[SequenceReport, FleetReplica]]:
    """Few sequences that free the missing blocks, each with a place; empty if there is no way.

    The largest first, into the tightest place, which keeps large holes whole.
    Nobody more urgent than the head leaves for it. All of it is within bounds:
    half of it would copy blocks and free too few for anybody.
    """
    config = books.config
    targets = {
        t.replica_id: t for t in books.targets_of(source) if is_within_bounds(books, source, t)
    }
    room = {replica_id: books.loads[replica_id] for replica_id in targets}
    places = {name: config.moves_in_max - books.in_count(t) for name, t in targets.items()}
    out_max = config.moves_out_max - books.out_count(source)
    candidates = [
        s
        for s in source.sequences
        if books.may_move(s) and s.request_class.rank >= head.request_class.rank
    ]
    plan: list[tuple[SequenceReport, FleetReplica]] = []
    for sequence in sorted(candidates, key=lambda s: (-s.blocks_own, s.sequence_id)):
        if missing <= 0 or len(plan) >= out_max:
            break
        fitting = [
            (load.room_for(sequence), replica_id)
            for replica_id, load in room.items()
            if places[replica_id] > 0
            and load.room_for(sequence) >= books.needed(sequence, targets[replica_id])
        ]
        if fitting and sequence.blocks_own:
            _, place = min(fitting)
            plan.append((sequence, targets[place]))
            room[place] = room[place].with_(sequence)
            places[place] -= 1
            missing -= sequence.blocks_own
    return plan if missing <= 0 else []


# ---- balance


def balance(books: Books) -> list[MoveDecision]:
    """From the least free to the most free, at most once for each pair."""
    moves: list[MoveDecision] = []
    sources = sorted(books.open(), key=lambda r: (books.freeness(r), r.replica_id))
    for source in sources:
        if books.loads[source.replica_id].used_share < books.config.used_share_min:
            continue
        candidates = [sequence for sequence in source.sequences if books.may_move(sequence)]
        for target in books.targets_of(source)[:TARGETS_TRIED]:
            if not may_balance(books, source, target):
                continue
            sequence = best_relief(books, source, target, candidates)
            if sequence is not None:
                moves.append(decide(books, MoveReason.BALANCE, source, target, sequence))
    return moves


def may_balance(books: Books, source: FleetReplica, target: FleetReplica) -> bool:
    """The gap is wide enough, and neither end is moving the other way or too much."""
    config = books.config
    wide = config.gap_stop if books.is_balancing(source) else config.gap_begin
    return (
        books.freeness(target) - books.freeness(source) >= wide
        and books.in_count(source) == 0
        and books.out_count(target) == 0
        and is_within_bounds(books, source, target)
    )


def is_within_bounds(books: Books, source: FleetReplica, target: FleetReplica) -> bool:
    return (
        books.out_count(source) < books.config.moves_out_max
        and books.in_count(target) < books.config.moves_in_max
        and books.is_pair_free(source, target)
    )


def best_relief(
    books: Books,
    source: FleetReplica,
    target: FleetReplica,
    candidates: Sequence[SequenceReport],
) -> SequenceReport | None:
    """The least urgent class first, then the most relief for each block copied."""
    rated = [
        (sequence.request_class.rank, value, sequence)
        for sequence in candidates
        if (value := relief(books, source, target, sequence)) is not None
        and books.may_move(sequence)  # not chosen in the meantime
        and books.fits(sequence, target)
    ]
    if not rated:
        return None
    return min(rated, key=lambda r: (-r[0], -r[1], r[2].sequence_id))[2]


def relief(
    books: Books, source: FleetReplica, target: FleetReplica, sequence: SequenceReport
) -> float | None:
    """What the poorer of the two gains, for as long as it may last, for each block copied.

    None when it gains too little, or the gap would only change its direction.
    """
    poor = books.loads[source.replica_id]
    rich = books.loads[target.replica_id]
    gap = rich.freeness - poor.freeness
    poor_after, rich_after = poor.freeness_without(sequence), rich.freeness_with(sequence)
    gain = min(poor_after, rich_after) - poor.freeness
    if gain < books.config.gain_min or abs(rich_after - poor_after) >= gap:
        return None
    life = min(sequence.tokens_left_max, LIFE_TOKENS_FULL)
    return gain * life / max(1, sequence.blocks)


# ---- what was decided


def decide(
    books: Books,
    reason: MoveReason,
    source: FleetReplica,
    target: FleetReplica,
    sequence: SequenceReport,
) -> MoveDecision:
    """Enter the move in the books, with the figures before and after."""
    figures: list[tuple[str, float]] = [
        ("blocks_needed", books.needed(sequence, target)),
        ("blocks_room", books.room_for(sequence, target)),
        ("source_freeness", books.freeness(source)),
        ("target_freeness", books.freeness(target)),
    ]
    books.enter(source, target, sequence)
    figures += [
        ("source_freeness_after", books.freeness(source)),
        ("target_freeness_after", books.freeness(target)),
    ]
    rounded = tuple((name, round(value, 2)) for name, value in figures)
    return MoveDecision(reason, source.replica_id, target.replica_id, sequence, rounded)
