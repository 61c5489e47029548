"""The target's half of a move, as a pure state machine.

It follows: makes room, writes what comes, and takes the sequence over when
the source commits. Blocks are taken in order only, so that `next_block` says
all there is to know about what is in place.

Invariants: every block before `next_block` is written or was held; the
sequence is admitted at most once, and only with KV for every token that the
source counts as computed; whatever was reserved is dropped or admitted. What
comes twice is answered again and changes nothing; what comes out of place
ends the move, since on a sound way nothing does.

A source that did not hear of the admission goes on itself and aborts. So the
target listens on for a while: an abort recalls the copy, which no gateway can
have been told of. A stream that merely breaks recalls nothing: its gateway may
be on the way to claim the copy.

Deliberately unknown here: time, transport, the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from protos.messages import ModelCard
from protos.moves import (
    Abort,
    Blocks,
    Commit,
    Committed,
    Declined,
    DeclineReason,
    MoveId,
    Reserve,
    Reserved,
    Written,
)
from replicas.shell.moves.checksum import checksum
from replicas.shell.moves.effects import (
    Admit,
    Admitted,
    Answer,
    Drop,
    Expired,
    Failed,
    InboundEffect,
    InboundEvent,
    Lost,
    MakeRoom,
    Recall,
    Room,
    Write,
    Wrote,
)


class InboundState(Enum):
    """Where a move is, seen from its target."""

    EXPECTING = "expecting"  # the first message
    RESERVING = "reserving"
    FILLING = "filling"  # the next blocks, or the commit, are to come
    WRITING = "writing"  # between two steps
    ADMITTING = "admitting"
    ADMITTED = "admitted"  # it runs here; its source may still say that it kept it
    DONE = "done"  # the sequence is this replica's
    ABORTED = "aborted"  # nothing of it is kept


_ABORTED = frozenset({InboundState.ABORTED})
LEGAL_TRANSITIONS: Final[Mapping[InboundState, frozenset[InboundState]]] = {
    InboundState.EXPECTING: _ABORTED | {InboundState.RESERVING},
    InboundState.RESERVING: _ABORTED | {InboundState.FILLING},
    InboundState.FILLING: _ABORTED | {InboundState.WRITING, InboundState.ADMITTING},
    InboundState.WRITING: _ABORTED | {InboundState.FILLING},
    InboundState.ADMITTING: _ABORTED | {InboundState.ADMITTED},
    InboundState.ADMITTED: _ABORTED | {InboundState.DONE},
    InboundState.DONE: frozenset(),
    InboundState.ABORTED: frozenset(),
}

Effects = tuple[InboundEffect, ...]


@dataclass(frozen=True, slots=True)
class Host:
    """What the target says about itself when a move arrives."""

    card: ModelCard
    epoch: int
    is_open: bool  # takes new work
    is_busy: bool  # with other moves that arrive


class Inbound:
    """One move in. Feed it events until `is_over`; do what it answers, in order."""

    __slots__ = ("_held", "_host", "_next_block", "_reserve", "_writing_end", "state")

    def __init__(self, host: Host) -> None:
        self.state = InboundState.EXPECTING
        self._host = host
        self._reserve: Reserve | None = None
        self._held = 0
        self._next_block = 0
        self._writing_end = 0

    @property
    def is_arriving(self) -> bool:
        """Whether the sequence is still to come, and room for it is held."""
        return self.state is not InboundState.ADMITTED and not self.is_over

    @property
    def is_over(self) -> bool:
        return self.state in (InboundState.DONE, InboundState.ABORTED)

    def handle(self, event: InboundEvent) -> Effects:
        """Take an event in. After the end, messages are only answered."""
        match event:
            case Reserve():
                return self._reserved(event)
            case Blocks():
                return self._blocks(event)
            case Commit():
                return self._commit(event)
            case Abort() if self.state is InboundState.ADMITTED:
                self._move_to(InboundState.ABORTED)
                return (Recall(),)
            case Expired() | Lost() if self.state is InboundState.ADMITTED:
                self._move_to(InboundState.DONE)
                return ()
            case Abort() | Expired() | Lost():
                return () if self.is_over else self._give_up()
            case Room(held):
                self._move_to(InboundState.FILLING)
                self._held = self._next_block = held
                return (Answer(Reserved(self._move_id, held)),)
            case Wrote():
                self._move_to(InboundState.FILLING)
                self._next_block = self._writing_end
                return (self._written(),)
            case Admitted():
                self._move_to(InboundState.ADMITTED)
                return (Answer(Committed(self._move_id)),)
            case Failed(reason, message):
                return self._decline(self._move_id, reason, message)

    def _reserved(self, message: Reserve) -> Effects:
        if self.state is InboundState.FILLING:
            return (Answer(Reserved(self._move_id, self._next_block)),)
        if self.state is not InboundState.EXPECTING:
            return self._out_of_place(message.move_id)
        refused = self._refusal(message)
        if refused is not None:
            return self._decline(message.move_id, *refused)
        self._move_to(InboundState.RESERVING)
        self._reserve = message
        return (MakeRoom(message.request),)

    def _refusal(self, message: Reserve) -> tuple[DeclineReason, str] | None:
        host, request = self._host, message.request
        if message.target_epoch != host.epoch:
            return DeclineReason.EPOCH, f"this is epoch {host.epoch}"
        if message.card != host.card:
            return DeclineReason.CARD, f"{host.card.name} {host.card.revision} is served here"
        if not host.is_open:
            return DeclineReason.NOT_OPEN, "this replica takes no new work"
        if host.is_busy:
            return DeclineReason.BUSY, "as many moves as allowed arrive here already"
        if request.choices != 1:
            return DeclineReason.REFUSED, "only a single choice can move"
        return None

    def _blocks(self, message: Blocks) -> Effects:
        if self.state is not InboundState.FILLING:
            return self._out_of_place(message.move_id)
        end = message.first + len(message.payloads)
        if end <= self._next_block:
            return (self._written(),)
        if message.first != self._next_block:
            detail = f"blocks from {message.first} on, expected {self._next_block}"
            return self._decline(message.move_id, DeclineReason.BROKEN, detail)
        if checksum(message.payloads) != message.crc32:
            detail = f"the checksum of blocks {message.first} to {end - 1} is wrong"
            return self._decline(message.move_id, DeclineReason.BROKEN, detail)
        self._move_to(InboundState.WRITING)
        self._writing_end = end
        return (Write(message.first, message.payloads),)

    def _commit(self, message: Commit) -> Effects:
        if self.state in (InboundState.ADMITTED, InboundState.DONE):
            return (Answer(Committed(message.move_id)),)
        if self.state is not InboundState.FILLING:
            return self._out_of_place(message.move_id)
        fault = self._fault(message)
        if fault is not None:
            return self._decline(message.move_id, DeclineReason.BROKEN, fault)
        self._move_to(InboundState.ADMITTING)
        # What was held here may reach further than the source had come.
        held_tokens = self._held * self._host.card.block_size
        return (Admit(message.said, max(message.computed, held_tokens)),)

    def _fault(self, message: Commit) -> str | None:
        """Why what has arrived cannot be the whole sequence."""
        assert self._reserve is not None
        request = self._reserve.request
        output = tuple(sampled.token for sampled in message.said)
        if output[: len(request.output)] != request.output:
            return "the output differs from what was announced"
        if message.computed >= len(request.prompt) + len(output):
            return f"{message.computed} tokens computed of fewer"
        if message.computed > self._next_block * self._host.card.block_size:
            return f"{message.computed} tokens computed, {self._next_block} blocks here"
        return None

    def _out_of_place(self, move_id: MoveId) -> Effects:
        """A message that no state but an earlier one has a use for."""
        if self.state is InboundState.EXPECTING:
            return self._decline(move_id, DeclineReason.UNKNOWN, "no such move here")
        if self.state is InboundState.ABORTED:
            return (Answer(Declined(move_id, DeclineReason.UNKNOWN, "no such move any more")),)
        return ()

    def _decline(self, move_id: MoveId, reason: DeclineReason, message: str) -> Effects:
        return (*self._give_up(), Answer(Declined(move_id, reason, message)))

    def _give_up(self) -> Effects:
        has_asked = self.state is not InboundState.EXPECTING
        self._move_to(InboundState.ABORTED)
        return (Drop(),) if has_asked else ()

    def _written(self) -> Answer:
        return Answer(Written(self._move_id, self._next_block))

    @property
    def _move_id(self) -> MoveId:
        assert self._reserve is not None, "an answer without a question"
        return self._reserve.move_id

    def _move_to(self, state: InboundState) -> None:
        assert state in LEGAL_TRANSITIONS[self.state], f"{self.state.value} to {state.value}"
        self.state = state
