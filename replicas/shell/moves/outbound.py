"""The source's half of a move, as a pure state machine.

It leads: reserve, copy what is full in stages while the sequence decodes on,
freeze, send the rest, commit. A stage ends when all it had to send is written
at the target, because only then is the next stage, or the frozen tail, the
only thing that is still on its way. With a copy faster than the sequence
grows each stage is shorter than the one before.

Invariants: `Commit` is sent only of a frozen sequence; the sequence is given
away only on `Committed` after that; every end is exactly one GiveAway or one
Keep, unless the sequence itself is gone. What comes twice, late or out of
place changes nothing.

Deliberately unknown here: time, transport, the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from protos.moves import (
    Abort,
    Blocks,
    Commit,
    Committed,
    Declined,
    MoveOutcome,
    Reserve,
    Reserved,
    Written,
)
from replicas.shell.moves.checksum import checksum
from replicas.shell.moves.effects import (
    Copied,
    Copy,
    Expired,
    Freeze,
    Frozen,
    GiveAway,
    Gone,
    Keep,
    Lost,
    OutboundEffect,
    OutboundEvent,
    Tell,
)
from replicas.shell.moves.limits import MoveLimits


class OutboundState(Enum):
    """Where a move is, seen from its source."""

    ASKING = "asking"  # the target has not said whether there is room
    COPYING = "copying"  # the sequence decodes on
    FREEZING = "freezing"  # at the next step boundary
    COMMITTING = "committing"  # frozen; everything is sent
    DONE = "done"  # the sequence is the target's
    ABORTED = "aborted"  # it is not


LEGAL_TRANSITIONS: Final[Mapping[OutboundState, frozenset[OutboundState]]] = {
    OutboundState.ASKING: frozenset(
        {OutboundState.COPYING, OutboundState.FREEZING, OutboundState.ABORTED}
    ),
    OutboundState.COPYING: frozenset({OutboundState.FREEZING, OutboundState.ABORTED}),
    OutboundState.FREEZING: frozenset(
        {OutboundState.COPYING, OutboundState.COMMITTING, OutboundState.ABORTED}
    ),
    OutboundState.COMMITTING: frozenset({OutboundState.DONE, OutboundState.ABORTED}),
    OutboundState.DONE: frozenset(),
    OutboundState.ABORTED: frozenset(),
}

Effects = tuple[OutboundEffect, ...]


class Outbound:
    """One move out. Feed it events until `outcome` is there; do what it answers, in order."""

    __slots__ = (
        "_block_size",
        "_chunk_blocks",
        "_computed",
        "_limits",
        "_next_block",
        "_reserve",
        "_stage_end",
        "_unacknowledged",
        "blocks_sent",
        "blocks_shared",
        "bytes_sent",
        "detail",
        "outcome",
        "stages",
        "state",
    )

    def __init__(self, reserve: Reserve, *, computed: int, limits: MoveLimits) -> None:
        self.state = OutboundState.ASKING
        self.outcome: MoveOutcome | None = None
        self.detail = ""
        self.stages = 0
        self.blocks_sent = 0
        self.blocks_shared = 0
        self.bytes_sent = 0
        self._reserve = reserve
        self._block_size = reserve.card.block_size
        self._limits = limits
        self._computed = computed  # when last heard of
        self._next_block = 0  # everything before it was sent, or is there
        self._stage_end = 0
        self._unacknowledged: tuple[int, ...] = ()  # for each such chunk, the block after it
        self._chunk_blocks = 1  # until the first payload says how large a block is

    @property
    def is_frozen(self) -> bool:
        """Whether the sequence stands still because of this move."""
        return self.state is OutboundState.COMMITTING

    def open(self) -> Effects:
        """How the move begins."""
        return (Tell(self._reserve),)

    def handle(self, event: OutboundEvent) -> Effects:
        """Take an event in. After the end everything is ignored."""
        if self.outcome is not None:
            return ()
        match event:
            case Reserved(_, held):
                return self._reserved(held)
            case Written(_, next_block):
                return self._written(next_block)
            case Copied(payloads, computed):
                return self._copied(payloads, computed)
            case Frozen():
                return self._frozen(event)
            case Committed():
                return self._committed()
            case Declined(_, reason, message):
                return self._keep(MoveOutcome.DECLINED, f"{reason.value}: {message}")
            case Gone():
                self._end(OutboundState.ABORTED, MoveOutcome.ENDED, "")
                return (self._abort(),)
            case Expired():
                late = MoveOutcome.LOST if self.is_frozen else MoveOutcome.LATE
                return (*self._keep(late, "the deadline passed"), self._abort())
            case Lost(detail):
                return self._keep(MoveOutcome.LOST, detail)

    def _reserved(self, held: int) -> Effects:
        if self.state is not OutboundState.ASKING:
            return ()
        self.blocks_shared = self._next_block = held
        return self._end_stage()

    def _written(self, next_block: int) -> Effects:
        self._unacknowledged = tuple(end for end in self._unacknowledged if end > next_block)
        return self._copy_on() if self.state is OutboundState.COPYING else ()

    def _copied(self, payloads: tuple[bytes, ...], computed: int) -> Effects:
        self._computed = computed
        if self.state is OutboundState.FREEZING:
            assert not payloads, "a copy that nobody asked for"
            return self._end_stage()
        assert self.state is OutboundState.COPYING, f"a copy while {self.state.value}"
        return (*self._send(payloads), *self._copy_on())

    def _copy_on(self) -> Effects:
        """Read the next chunk, or wait, or see the stage's end."""
        if self._next_block < self._stage_end:
            if len(self._unacknowledged) >= self._limits.chunks_unacknowledged_max:
                return ()
            stop = min(self._stage_end, self._next_block + self._chunk_blocks)
            return (Copy(self._next_block, stop),)
        return () if self._unacknowledged else self._end_stage()

    def _end_stage(self) -> Effects:
        """Everything until here is written: freeze if little is left, else copy once more."""
        left = -(-self._computed // self._block_size) - self._next_block
        are_enough = self.stages >= self._limits.stages_max
        tail_max = self._limits.tail_blocks_max if are_enough else self._limits.tail_blocks
        if left <= tail_max:
            self._move_to(OutboundState.FREEZING)
            return (Freeze(self._next_block, self._limits.tail_blocks_max),)
        if are_enough:
            detail = f"after {self.stages} stages {left} blocks were left"
            return (*self._keep(MoveOutcome.LATE, detail), self._abort())
        if self.state is not OutboundState.COPYING:
            self._move_to(OutboundState.COPYING)
        self.stages += 1
        self._stage_end = self._computed // self._block_size
        return self._copy_on()

    def _frozen(self, event: Frozen) -> Effects:
        assert self.state is OutboundState.FREEZING, f"frozen while {self.state.value}"
        self._move_to(OutboundState.COMMITTING)
        commit = Commit(self._reserve.move_id, event.said, event.computed)
        return (*self._send(event.payloads), Tell(commit))

    def _committed(self) -> Effects:
        if self.state is not OutboundState.COMMITTING:
            return ()
        self._end(OutboundState.DONE, MoveOutcome.MOVED, "")
        return (GiveAway(),)

    def _send(self, payloads: tuple[bytes, ...]) -> Effects:
        if payloads:
            self._chunk_blocks = max(1, self._limits.chunk_bytes_max // max(1, len(payloads[0])))
        told = []
        for start in range(0, len(payloads), self._chunk_blocks):
            chunk = payloads[start : start + self._chunk_blocks]
            told.append(
                Tell(Blocks(self._reserve.move_id, self._next_block, chunk, checksum(chunk)))
            )
            self._next_block += len(chunk)
            self._unacknowledged += (self._next_block,)
            self.blocks_sent += len(chunk)
            self.bytes_sent += sum(map(len, chunk))
        return tuple(told)

    def _keep(self, outcome: MoveOutcome, detail: str) -> Effects:
        self._end(OutboundState.ABORTED, outcome, detail)
        return (Keep(),)

    def _abort(self) -> Tell:
        return Tell(Abort(self._reserve.move_id))

    def _end(self, state: OutboundState, outcome: MoveOutcome, detail: str) -> None:
        self._move_to(state)
        self.outcome, self.detail = outcome, detail

    def _move_to(self, state: OutboundState) -> None:
        assert state in LEGAL_TRANSITIONS[self.state], f"{self.state.value} to {state.value}"
        self.state = state
