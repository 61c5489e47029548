"""Choose the replica on which a request costs the cluster least (scores.py).

Hard filters come first: a replica that is lost, stale, draining or without
room is no candidate, however hot its prefix. Of the rest the cheapest wins;
ties go to the fewest running sequences, then to an order derived from the
request id, so that equal choices spread without any randomness.

Where replicas copy blocks from each other, a candidate may have what another
one holds of the prompt sent to it first: if, and only if, the copy and what is
left to compute take less time than computing.

There is no threshold on match lengths and no gate on imbalance: either lets
one hot replica change the routing of a whole fleet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from typing import TypeAlias

from orchestrator.policy.scores import Cost, ScoreConfig, cost, prefill_work, usable_hits
from orchestrator.policy.view import ClusterView, ReplicaView, Subject
from protos.messages import ReplicaId, RequestId


class RouteReason(Enum):
    """Why this replica."""

    PREFIX_HIT = "prefix_hit"  # nobody holds more of the prefix
    COPY = "copy"  # more of the prefix is held elsewhere, and copied from there
    BALANCE = "balance"  # a longer hit elsewhere saves less than its queue costs
    ROOM = "room"  # the replica with the longest hit has no room
    LOAD = "load"  # nobody holds any of the prefix


@dataclass(frozen=True, slots=True)
class RouteConfig:
    scores: ScoreConfig = field(default_factory=ScoreConfig)
    # Sequences that may wait at a replica. A request held back at the gateway
    # can still go anywhere; one that waits at a replica cannot.
    waiting_max: int = 32
    # And beyond so many, none but interactive ones may join them.
    waiting_others_max: int = 8


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a request goes, why, and what is promised to it there."""

    replica_id: ReplicaId
    epoch: int
    reason: RouteReason
    cost: Cost
    hit_blocks: int
    blocks: int
    prefill_tokens: int  # as the view counts them
    sequences: int
    is_interactive: bool = True
    # Who is asked for the first blocks of the prompt before it is computed, and for how many.
    source: ReplicaId | None = None
    source_blocks: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """What one replica would cost."""

    replica: ReplicaView
    hit_blocks: int
    cost: Cost
    source: ReplicaId | None = None  # of blocks beyond the hits, to be copied
    copied_blocks: int = 0


# `route`, or another choice of replica to compare it with.
Route: TypeAlias = Callable[
    [ClusterView, Subject, Mapping[ReplicaId, int], RouteConfig], Placement | None
]


def route(
    view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
) -> Placement | None:
    """The cheapest replica with room, or None: then admission decides to queue or shed."""
    offered_by_all = offers(view, subject, hits, config)
    with_room = [offered for offered in offered_by_all if has_room(offered, subject, config)]
    if not with_room:
        return None
    best = cheapest(with_room, subject)
    reason = explain(
        best,
        longest_with_room=max(offered.hit_blocks for offered in with_room),
        longest=max(offered.hit_blocks for offered in offered_by_all),
    )
    return place(best, subject, reason)


def offers(
    view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
) -> list[Offer]:
    """What each replica that takes requests would cost."""
    usable = usable_hits(subject, hits)
    held = holders(view, subject)
    return [
        offer(replica, usable.get(replica.replica_id, 0), subject, config, held)
        for replica in view.accepting
    ]


def holders(view: ClusterView, subject: Subject) -> dict[ReplicaId, int]:
    """Blocks of the prompt by who has them now: who has most first, then who has least to do."""
    held = usable_hits(subject, subject.held)
    ranked = sorted(
        (-held[replica.replica_id], replica.prefill_tokens_ahead, replica.replica_id)
        for replica in view.replicas
        if replica.alive and held.get(replica.replica_id, 0)
    )
    return {replica_id: -blocks for blocks, _, replica_id in ranked}


def offer(
    replica: ReplicaView,
    hit_blocks: int,
    subject: Subject,
    config: RouteConfig,
    held: Mapping[ReplicaId, int],
) -> Offer:
    """Its cost with a copy from the first other holder, where that is quicker than computing.

    All is copied that is not here by now: also what others will soon have computed here.
    """
    computed = uncopied(replica, hit_blocks, subject, config)
    source = next((one for one in held if one != replica.replica_id), None)
    if not replica.takes_copies or source is None or held[source] <= hit_blocks:
        return computed
    present = min(hit_blocks, held.get(replica.replica_id, 0))
    copied = held[source] - present
    price = cost(replica, subject, present, config.scores, copied_blocks=copied)
    is_quicker = price.own_s < computed.cost.own_s
    return Offer(replica, present, price, source, copied) if is_quicker else computed


def uncopied(replica: ReplicaView, hit_blocks: int, subject: Subject, config: RouteConfig) -> Offer:
    """Its cost where all that is not there is computed."""
    return Offer(replica, hit_blocks, cost(replica, subject, hit_blocks, config.scores))


def has_room(offered: Offer, subject: Subject, config: RouteConfig) -> bool:
    """Whether the request would start there soon: enough blocks, and few before it."""
    is_short = offered.cost.blocks_missing > 0
    ahead_max = config.waiting_max if subject.is_interactive else config.waiting_others_max
    return not is_short and offered.replica.sequences_ahead < ahead_max


def cheapest(offered: Sequence[Offer], subject: Subject) -> Offer:
    """The order of choice: cost, then running sequences, then spread. Of one offer at least."""
    ranks = [(each.cost.total_s, each.replica.sequences_running) for each in offered]
    least = min(ranks)
    tied = [each for each, rank in zip(offered, ranks, strict=True) if rank == least]
    return min(tied, key=lambda each: spread(subject.request_id, each.replica.replica_id))


def spread(request_id: RequestId, replica_id: ReplicaId) -> bytes:
    """An order of replicas that differs from request to request and never by chance."""
    return blake2b(f"{request_id}\0{replica_id}".encode(), digest_size=8).digest()


def explain(best: Offer, *, longest_with_room: int, longest: int) -> RouteReason:
    """Why this was the cheapest."""
    if best.source is not None:
        return RouteReason.COPY
    if longest == 0:
        return RouteReason.LOAD
    if best.hit_blocks == longest:
        return RouteReason.PREFIX_HIT
    if best.hit_blocks < longest_with_room:
        return RouteReason.BALANCE
    return RouteReason.ROOM


def place(chosen: Offer, subject: Subject, reason: RouteReason) -> Placement:
    """The placement, with the promise to be charged for it."""
    replica, present = chosen.replica, chosen.hit_blocks + chosen.copied_blocks
    return Placement(
        replica_id=replica.replica_id,
        epoch=replica.epoch,
        reason=reason,
        cost=chosen.cost,
        hit_blocks=chosen.hit_blocks,
        blocks=chosen.cost.blocks,
        prefill_tokens=round(prefill_work(replica, subject, present)),
        sequences=subject.choices,
        is_interactive=subject.is_interactive,
        source=chosen.source,
        source_blocks=present if chosen.source is not None else 0,
    )
