"""Now, later or not at all: what happens to a request that asks for a place.

- *Now* (`Admit`): nobody waits before it and a replica has room.
- *Later* (`Queue`): the line is short enough to be worth its client's patience.
- *Not now* (`Shed`): the line is full, or the first token is predicted for
  after the client's deadline, or others are predicted to take longer than the
  class's objective; Retry-After is the predicted wait, not a constant.
- *Never* (`Refuse`): no live replica could hold it, even alone.

Who goes before whom is the line's matter (queue.py): a request is admitted
only when nobody goes before it. When the line is full, a newcomer of a better
class takes the place of somebody of a worse one, and never the other way
round. The line's pace is predicted from what replicas report: every sequence
that is placed leaves after its replica's residence time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import ceil, fsum

from orchestrator.policy.route import Placement, Route, RouteConfig, route
from orchestrator.policy.scores import NS_PER_S, cost, residence_s, usable_hits
from orchestrator.policy.view import ClusterView, Subject
from protos.messages import ReplicaId, RequestClass


class AdmitReason(Enum):
    """Why a request was not admitted at once."""

    BEHIND_OTHERS = "behind_others"  # others wait already
    NO_ROOM = "no_room"  # every replica is full for now
    QUEUE_FULL = "queue_full"  # the line is at its bound
    PUSHED_OUT = "pushed_out"  # it had to give way to a better class in a full line
    WAIT_TOO_LONG = "wait_too_long"  # longer than its client's patience
    OBJECTIVE_MISSED = "objective_missed"  # others take longer than its class should wait
    NO_REPLICA = "no_replica"  # no live replica takes work
    NEVER_FITS = "never_fits"  # larger than every live replica


def default_objectives() -> Mapping[RequestClass, int]:
    return {RequestClass.INTERACTIVE: 10 * NS_PER_S, RequestClass.AGENT: 60 * NS_PER_S}


@dataclass(frozen=True, slots=True)
class AdmitConfig:
    route: RouteConfig = field(default_factory=RouteConfig)
    # Of a client that names no deadline: if others are predicted to leave no time for a
    # newcomer for so long, it is turned away. A class without an objective never is for that.
    objectives_ns: Mapping[RequestClass, int] = field(default_factory=default_objectives)
    queue_max: int = 512  # requests in the line of one gateway
    retry_after_s_max: int = 60
    # Without any replica there is nothing to predict from: one health check.
    replica_return_s: int = 2


@dataclass(frozen=True, slots=True)
class QueueState:
    """Where a request stands."""

    ahead: int  # requests that go before it
    patience_ns: int  # how long it may wait from now on
    is_waiting: bool = False  # it stands in the line already
    has_deadline: bool = False  # its client's own, at the end of its patience
    is_full: bool = False  # the line is at its bound
    has_worse: bool = False  # and somebody in it would give way to this one
    is_overdue: bool = False  # its class was given nothing for too long


@dataclass(frozen=True, slots=True)
class Admit:
    placement: Placement


@dataclass(frozen=True, slots=True)
class Queue:
    reason: AdmitReason
    pushes_out: bool = False  # the line is full: somebody of a worse class gives way


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
    if queue.is_overdue:
        view = view.unreserved()
    placement = choose(view, subject, hits, config.route) if queue.ahead == 0 else None
    if placement is not None:
        return Admit(placement)
    wait = predict(view, subject, hits, queue, config)
    if (shed_for := unworthy(view, subject, wait, queue, config)) is not None:
        return Shed(shed_for, retry_after_s(wait.for_room_s, config))
    return Queue(
        AdmitReason.BEHIND_OTHERS if queue.ahead else AdmitReason.NO_ROOM,
        pushes_out=queue.is_full and not queue.is_waiting,
    )


def give_way(
    view: ClusterView,
    subject: Subject,
    hits: Mapping[ReplicaId, int],
    queue: QueueState,
    config: AdmitConfig,
) -> Shed:
    """For one that had to leave a full line to somebody of a better class."""
    if not view.accepting:
        return Shed(AdmitReason.NO_REPLICA, config.replica_return_s)
    wait = predict(view, subject, hits, queue, config)
    return Shed(AdmitReason.PUSHED_OUT, retry_after_s(wait.for_room_s, config))


def unworthy(
    view: ClusterView, subject: Subject, wait: Wait, queue: QueueState, config: AdmitConfig
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
    if queue.is_full and not queue.has_worse:
        return AdmitReason.QUEUE_FULL
    if any(replica.residence_ns is None for replica in view.accepting):
        return None
    if wait.ttft_s * NS_PER_S >= queue.patience_ns:
        return AdmitReason.WAIT_TOO_LONG
    objective_ns = config.objectives_ns.get(subject.request_class)
    if queue.has_deadline or objective_ns is None:
        return None
    is_missed = wait.for_others_s * NS_PER_S >= objective_ns
    return AdmitReason.OBJECTIVE_MISSED if is_missed else None


@dataclass(frozen=True, slots=True)
class Wait:
    """What is predicted for a request that joins the line."""

    for_room_s: float  # until those before it are placed and the first replica has room
    for_others_s: float  # and until the prompts before it there are computed
    ttft_s: float  # and its own is


def predict(
    view: ClusterView,
    subject: Subject,
    hits: Mapping[ReplicaId, int],
    queue: QueueState,
    config: AdmitConfig,
) -> Wait:
    """How long it would have to wait, as far as reports tell."""
    scores = config.route.scores
    usable = usable_hits(subject, hits)
    ends_per_s = fsum(
        max(1, replica.sequences_running + replica.sequences_ahead) / residence_s(replica, scores)
        for replica in view.accepting
    )
    costs = [
        cost(replica, subject, usable.get(replica.replica_id, 0), scores)
        for replica in view.accepting
    ]
    turn_s = queue.ahead / ends_per_s
    return Wait(
        for_room_s=turn_s + min(price.room_s for price in costs),
        for_others_s=turn_s + min(price.room_s + price.queue_s for price in costs),
        ttft_s=turn_s + min(price.room_s + price.queue_s + price.prefill_s for price in costs),
    )


def retry_after_s(wait_s: float, config: AdmitConfig) -> int:
    """The prediction as a header's whole seconds."""
    return max(1, min(config.retry_after_s_max, ceil(wait_s)))
