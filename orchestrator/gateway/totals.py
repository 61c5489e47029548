"""What dispatch did since it started, counted by reason. Metrics read it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from orchestrator.control.seams import LossReason
from orchestrator.policy.admit import AdmitReason
from orchestrator.policy.route import RouteReason


class RetryReason(Enum):
    """Why a request was taken back from a replica before its first token."""

    LOST = "lost"
    DRAINING = "draining"
    QUEUE_FULL = "queue_full"


@dataclass(slots=True)
class Totals:
    """They only grow. One writer: the dispatch that owns them."""

    placed: Counter[RouteReason] = field(default_factory=Counter)
    queued: Counter[AdmitReason] = field(default_factory=Counter)
    turned_away: Counter[AdmitReason] = field(default_factory=Counter)
    retried: Counter[RetryReason] = field(default_factory=Counter)
    registry_missed: int = 0  # requests routed by load alone, for want of the registry
    streams_resumed: Counter[LossReason] = field(default_factory=Counter)
    streams_lost: int = 0  # after their first token, and not resumed
    streams_broken: int = 0  # a gap, a repetition or a missing end: somebody has a bug
