"""Now, later or not at all: what happens to a request that asks for a place.

- *Now* (`Admit`): nobody waits before it and a replica has room.
- *Later* (`Queue`): the line is short enough to be worth its client's patience.
- *Not now* (`Shed`): the line is full, or is predicted to outlast the client's
  patience; Retry-After is that prediction, not a constant.
- *Never* (`Refuse`): no live replica could hold it, even alone.

A request that waits is never overtaken: a newcomer is admitted only when the
line is empty. The line's pace is predicted from what replicas report: every
sequence that is placed leaves after its replica's residence time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import ceil, fsum

from orchestrator.policy.route import Placement, Route, RouteConfig, route
from orchestrator.policy.scores import NS_PER_S, cost, residence_s, usable_hits
from orchestrator.policy.view import ClusterView, Subject
from protos.messages import ReplicaId


class AdmitReason(Enum):
    """Why a request was not admitted at once."""

    BEHIND_OTHERS = "behind_others"  # others wait already
    NO_ROOM = "no_room"  # every replica is full for now
    QUEUE_FULL = "queue_full"  # the line is at its bound
    WAIT_TOO_LONG = "wait_too_long"  # longer than its client's patience
    NO_REPLICA = "no_replica"  # no live replica takes work
    NEVER_FITS = "never_fits"  # larger than every live replica


@dataclass(frozen=True, slots=True)
class AdmitConfig:
    route: RouteConfig = field(default_factory=RouteConfig)
    queue_max: int = 512  # requests in the line of one gateway
    retry_after_s_max: int = 60
    # Without any replica there is nothing to predict from: one health check.
    replica_return_s: int = 2


@dataclass(frozen=True, slots=True)
class QueueState:
    """Where a request stands."""

    ahead: int  # requests in the line before it
    patience_ns: int  # how long it may wait from now on
    is_waiting: bool = False  # it stands in the line already


@dataclass(frozen=True, slots=True)
class Admit:
    placement: Placement


@dataclass(frozen=True, slots=True)
class Queue:
    reason: AdmitReason


@dataclass(frozen=True, slots=True)
class Shed:
    reason: AdmitReason
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Refuse:
    reason: AdmitReason


Admission = Admit | Queue | Shed | Refuse


def admit(
    view: ClusterView,
    subject: Subject,
    hits: Mapping[ReplicaId, int],
    queue: QueueState,
    config: AdmitConfig,
    choose: Route = route,
) -> Admission:
    """Decide for one request, given who holds its prefix and who waits before it."""
    if not view.accepting:
        return Shed(AdmitReason.NO_REPLICA, config.replica_return_s)
    if all(subject.blocks_least > replica.blocks_total for replica in view.accepting):
        return Refuse(AdmitReason.NEVER_FITS)
    placement = choose(view, subject, hits, config.route) if queue.ahead == 0 else None
    if placement is not None:
        return Admit(placement)
    wait_s = predicted_wait_s(view, subject, hits, queue, config)
    if (shed_for := unworthy(view, wait_s, queue, config)) is not None:
        return Shed(shed_for, retry_after_s(wait_s, config))
    return Queue(AdmitReason.BEHIND_OTHERS if queue.ahead else AdmitReason.NO_ROOM)


def unworthy(
    view: ClusterView, wait_s: float, queue: QueueState, config: AdmitConfig
) -> AdmitReason | None:
    """Why the wait is not worth it, if so.

    Whoever stands in the line stays until patience ends: a prediction that
    got worse meanwhile throws nobody out. Nor does a prediction that rests on
    assumptions, before every replica has finished something.
    """
    if queue.patience_ns == 0:
        return AdmitReason.WAIT_TOO_LONG
    if queue.is_waiting:
        return None
    if queue.ahead >= config.queue_max:
        return AdmitReason.QUEUE_FULL
    is_measured = all(replica.residence_ns is not None for replica in view.accepting)
    is_hopeless = wait_s >= queue.patience_ns / NS_PER_S
    return AdmitReason.WAIT_TOO_LONG if is_measured and is_hopeless else None


def predicted_wait_s(
    view: ClusterView,
    subject: Subject,
    hits: Mapping[ReplicaId, int],
    queue: QueueState,
    config: AdmitConfig,
) -> float:
    """Seconds until those before it are placed and the first replica has room for it."""
    scores = config.route.scores
    usable = usable_hits(subject, hits)
    ends_per_s = fsum(
        max(1, replica.sequences_running + replica.sequences_ahead) / residence_s(replica, scores)
        for replica in view.accepting
    )
    room_s = min(
        cost(replica, subject, usable.get(replica.replica_id, 0), scores).room_s
        for replica in view.accepting
    )
    return queue.ahead / ends_per_s + room_s


def retry_after_s(wait_s: float, config: AdmitConfig) -> int:
    """The prediction as a header's whole seconds."""
    return max(1, min(config.retry_after_s_max, ceil(wait_s)))
