"""What takes time on a request's way: stages at its gateway, and attempts at replicas.

Both are opened when they begin and closed once; what is open is going on. An
attempt is told by the replica itself where its time went (protos.messages.Account).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from protos.messages import Account, ReplicaId


class Stage(Enum):
    """What the gateway does before it asks a replica."""

    PREPARE = "prepare"  # its text becomes tokens
    HASH = "hash"  # the blocks of its prompt are named
    LOCATE = "locate"  # the registry says who holds them
    ADMIT = "admit"  # it waits for a place


@dataclass(slots=True)
class Stretch:
    """One stage of one choice, or of all that have not forked yet."""

    stage: Stage
    choice: int
    began_ns: int
    ended_ns: int | None = None
    detail: str = ""
    reasons: list[str] = field(default_factory=list)  # that it had to wait for; words of an Enum

    def wait_for(self, reason: str) -> None:
        """It cannot go on yet, because of this."""
        if reason not in self.reasons:
            self.reasons.append(reason)


class AttemptEnd(Enum):
    """How choices left a replica."""

    FINISHED = "finished"
    REFUSED = "refused"
    LOST = "lost"  # the replica was
    MOVED = "moved"
    HANDED_BACK = "handed_back"
    LEFT = "left"  # nobody wanted more of them


@dataclass(slots=True)
class Attempt:
    """Choices at one replica, from the question to the last word."""

    number: int  # of its request's
    choice: int  # the first of them
    replica_id: ReplicaId
    began_ns: int
    spoke_ns: int | None = None  # its first word
    ended_ns: int | None = None
    end: AttemptEnd | None = None
    accounts: dict[int, Account] = field(default_factory=dict)  # by choice, the latest of each

    def close(self, end: AttemptEnd, at_ns: int) -> None:
        """Nothing more comes from there. Only the first time counts."""
        if self.end is None:
            self.end, self.ended_ns = end, at_ns
