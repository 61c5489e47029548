"""What the control plane decided and why: a bounded log that can be asked.

One record for each decision and for each fact that ended one, with a reason
from a closed Enum and the figures that were known. At the bound the oldest
are forgotten; `number` shows that some are missing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import takewhile

from orchestrator.policy.fleet import MoveReason
from orchestrator.policy.rebalance import Figures, StayReason
from protos.messages import ReplicaId, RequestId, SequenceId
from protos.moves import MoveId, MoveOutcome


class DecisionKind(Enum):
    """What a record is about."""

    ATTACHED = "attached"  # a replica, for the first time or in a new epoch
    FORGOTTEN = "forgotten"  # a replica
    STANDING = "standing"  # ordered, or changed by the replica
    WARM = "warm"  # an empty replica was told where to get prefixes
    MOVE = "move"  # ordered
    MOVE_ENDED = "move_ended"
    STAY = "stay"  # sequences that should leave a replica and cannot
    POLICY = "policy"  # a knob was turned


class Cause(Enum):
    """What led to a decision that is not a move's."""

    OPERATOR = "operator"
    REPLICA = "replica"  # it says so itself
    ABSENCE = "absence"  # no stream for too long
    COLD = "cold"  # it holds nothing yet


Reason = Cause | MoveReason | MoveOutcome | StayReason


@dataclass(frozen=True, slots=True)
class Decision:
    """One record. `at_ns` is the control plane's clock, which knows no date."""

    kind: DecisionKind
    reason: Reason
    replica_id: ReplicaId | None = None
    target: ReplicaId | None = None
    request_id: RequestId | None = None
    sequence_id: SequenceId | None = None
    move_id: MoveId | None = None
    detail: str = ""
    figures: Figures = field(default=())
    number: int = 0  # given by the log, from 1
    at_ns: int = 0  # given by the log


class DecisionLog:
    """Owner of the records."""

    def __init__(self, records_max: int) -> None:
        self._records: deque[Decision] = deque(maxlen=records_max)
        self._count = 0

    def add(self, decision: Decision, now_ns: int) -> None:
        self._count += 1
        self._records.append(replace(decision, number=self._count, at_ns=now_ns))

    def since(self, number: int) -> tuple[Decision, ...]:
        """Those after this one, as far as they are remembered, oldest first."""
        newest = takewhile(lambda record: record.number > number, reversed(self._records))
        return tuple(reversed(tuple(newest)))

    def last(
        self,
        count: int,
        *,
        request_id: RequestId | None = None,
        replica_id: ReplicaId | None = None,
    ) -> tuple[Decision, ...]:
        """At most `count` of the newest about these, oldest first."""
        found = [
            record
            for record in self._records
            if (request_id is None or record.request_id == request_id)
            and (replica_id is None or replica_id in (record.replica_id, record.target))
        ]
        return tuple(found[-count:]) if count > 0 else ()
