"""How loaded a replica is, in one number, now and after a sequence came or went.

Freeness, after Llumnix (Sun et al., OSDI 2024):

    F = (M - virtual usage) / max(1, running)

the blocks by which each running sequence could still grow. Virtual usage is
what is in use, what the waiting sequences will take, and a head room wherever
an interactive sequence lives, so that it grows without a preemption. One
number serves balance, de-fragmentation and head room alike.

A sequence that arrives is counted with all of its blocks, though the target
may hold some already; one that leaves, only with those it shares with nobody.
So a load after a move is never better than expected: what a decision promises,
the move keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.policy.fleet import FleetReplica
from protos.messages import RequestClass, SequenceReport


@dataclass(frozen=True, slots=True)
class Load:
    """The blocks and sequences of one replica that matter to its freeness."""

    blocks_total: int
    blocks_used: int
    blocks_waiting: int
    headroom: int  # kept free of others where an interactive sequence lives
    running: int
    interactive: int  # sequences of that class, running or waiting

    @property
    def freeness(self) -> float:
        return self._freeness_at(self.blocks_used, self.running, self.interactive)

    def freeness_without(self, sequence: SequenceReport) -> float:
        """After a running sequence has left."""
        interactive = self.interactive - is_interactive(sequence)
        return self._freeness_at(
            self.blocks_used - sequence.blocks_own, self.running - 1, interactive
        )

    def freeness_with(self, sequence: SequenceReport) -> float:
        """After a running sequence has come."""
        interactive = self.interactive + is_interactive(sequence)
        return self._freeness_at(self.blocks_used + sequence.blocks, self.running + 1, interactive)

    def _freeness_at(self, blocks_used: int, running: int, interactive: int) -> float:
        headroom = self.headroom if interactive > 0 else 0
        virtual = blocks_used + self.blocks_waiting + headroom
        return (self.blocks_total - virtual) / max(1, running)

    @property
    def used_share(self) -> float:
        """Of all blocks, those in use or spoken for."""
        return (self.blocks_used + self.blocks_waiting) / self.blocks_total

    @property
    def blocks_room(self) -> int:
        """Blocks that one more sequence may take, waiting ones served first."""
        return self.blocks_total - self.blocks_used - self.blocks_waiting

    def room_for(self, sequence: SequenceReport) -> int:
        """The same, without the head room if it is not for this one."""
        if sequence.request_class is RequestClass.INTERACTIVE:
            return self.blocks_room
        return self.blocks_room - (self.headroom if self.interactive else 0)

    def without(self, sequence: SequenceReport) -> Load:
        """What `freeness_without` is the freeness of."""
        return replace(
            self,
            blocks_used=self.blocks_used - sequence.blocks_own,
            running=max(0, self.running - 1),
            interactive=max(0, self.interactive - is_interactive(sequence)),
        )

    def with_(self, sequence: SequenceReport) -> Load:
        """What `freeness_with` is the freeness of."""
        return replace(
            self,
            blocks_used=self.blocks_used + sequence.blocks,
            running=self.running + 1,
            interactive=self.interactive + is_interactive(sequence),
        )


def load_of(replica: FleetReplica, *, headroom_share: float) -> Load:
    """What a replica reported."""
    snapshot = replica.snapshot
    return Load(
        blocks_total=snapshot.blocks_total,
        blocks_used=snapshot.blocks_used,
        blocks_waiting=snapshot.blocks_waiting,
        headroom=int(snapshot.blocks_total * headroom_share),
        running=snapshot.sequences_running,
        interactive=sum(is_interactive(sequence) for sequence in replica.sequences),
    )


def is_interactive(sequence: SequenceReport) -> bool:
    return sequence.request_class is RequestClass.INTERACTIVE


def blocks_needed(sequence: SequenceReport, *, block_size: int, growth_tokens: int) -> int:
    """To set aside for it: what it has, or its tokens will take, and some growth."""
    held = max(sequence.blocks, blocks_of(sequence, block_size))
    growth = min(sequence.tokens_left_max, growth_tokens)
    return held + -(-growth // block_size)


def blocks_of(sequence: SequenceReport, block_size: int) -> int:
    """For all its tokens and the next one."""
    return -(-(sequence.tokens + 1) // block_size)
