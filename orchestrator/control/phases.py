"""Where a replica stands between taking work and being empty, and what may follow.

A phase follows from what was ordered and what the replica reports of itself;
only the replica's own report makes it drained. Everything needed to find the
phase again is in the reports, so that a new leader knows it with the first.
"""

from __future__ import annotations

from enum import Enum

from protos.messages import Snapshot, Standing


class ReplicaPhase(Enum):
    """What an operator sees of a standing."""

    ACTIVE = "active"
    CORDONED = "cordoned"  # takes no work; what it has stays
    DRAINING = "draining"  # takes no work and is being emptied
    DRAINED = "drained"  # takes no work and has none left


PHASES_AFTER: dict[ReplicaPhase, frozenset[ReplicaPhase]] = {
    ReplicaPhase.ACTIVE: frozenset({ReplicaPhase.CORDONED, ReplicaPhase.DRAINING}),
    ReplicaPhase.CORDONED: frozenset({ReplicaPhase.ACTIVE, ReplicaPhase.DRAINING}),
    ReplicaPhase.DRAINING: frozenset(
        {ReplicaPhase.DRAINED, ReplicaPhase.ACTIVE, ReplicaPhase.CORDONED}
    ),
    ReplicaPhase.DRAINED: frozenset({ReplicaPhase.ACTIVE, ReplicaPhase.CORDONED}),
}

PHASE_OF = {
    Standing.OPEN: ReplicaPhase.ACTIVE,
    Standing.CORDONED: ReplicaPhase.CORDONED,
    Standing.LEAVING: ReplicaPhase.DRAINING,
}


def is_empty(snapshot: Snapshot) -> bool:
    return snapshot.sequences_running + snapshot.sequences_waiting == 0


def objection(phase: ReplicaPhase, wanted: Standing) -> str | None:
    """Why an operator may not have this standing now: a sentence, or None."""
    if wanted is Standing.CORDONED and phase in (ReplicaPhase.DRAINING, ReplicaPhase.DRAINED):
        return f"it is {phase.value}, which takes no work either; uncordon it first to stop that"
    return None
