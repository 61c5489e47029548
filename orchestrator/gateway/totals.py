"""What dispatch did since it started, counted by reason. Metrics read it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from orchestrator.control.seams import LossReason
from orchestrator.policy.admit import AdmitReason
from orchestrator.policy.route import RouteReason
from protos.messages import RequestClass


class RetryReason(Enum):
    """Why a request was taken back from a replica before its first token."""

    LOST = "lost"
    DRAINING = "draining"
    QUEUE_FULL = "queue_full"
    GONE = "gone"


class HandoffKind(Enum):
    """How a replica gave a choice away."""

    MOVED = "moved"  # to another one, which has its KV
    HANDED_BACK = "handed_back"  # to be resumed wherever there is room


class AdoptionEnd(Enum):
    """What came of going after a choice that waits at a replica."""

    ADOPTED = "adopted"
    GONE = "gone"  # it is not there, or no longer
    LOST = "lost"  # the replica was lost before it answered
    UNREACHABLE = "unreachable"  # there is no link to that replica


@dataclass(slots=True)
class Totals:
    """They only grow. One writer: the dispatch that owns them."""

    placed: Counter[RouteReason] = field(default_factory=Counter)
    queued: Counter[tuple[RequestClass, AdmitReason]] = field(default_factory=Counter)
    turned_away: Counter[tuple[RequestClass, AdmitReason]] = field(default_factory=Counter)
    retried: Counter[RetryReason] = field(default_factory=Counter)
    registry_missed: int = 0  # requests routed by memory and load, for want of the registry
    registry_hit_blocks: int = 0  # that it named where requests were placed
    registry_false_hit_blocks: int = 0  # of these, what the replica did not have
    intended_hit_blocks: int = 0  # beyond those, that were to be there because of a placement
    intended_false_hit_blocks: int = 0  # of these, what had not come true
    streams_resumed: Counter[LossReason] = field(default_factory=Counter)
    handoffs: Counter[HandoffKind] = field(default_factory=Counter)
    adoptions: Counter[AdoptionEnd] = field(default_factory=Counter)  # of moved choices
    streams_taken_over: int = 0  # begun by a gateway that their clients lost
    takeovers: Counter[AdoptionEnd] = field(default_factory=Counter)  # of their choices
    streams_lost: int = 0  # after their first token, and not resumed
    streams_broken: int = 0  # a gap, a repetition or a missing end: somebody has a bug
