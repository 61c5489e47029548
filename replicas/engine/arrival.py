"""A sequence on its way here from another replica: first its room, then its KV.

A reservation holds blocks for every token known when it was made. The leading
ones that are findable here are shared, not filled again; the others are
written by whoever moves the sequence, one after another, between steps. It
holds them against newcomers only: sequences that are here already come first,
and a reservation is dropped before any of them loses a block (see
`replicas.engine.room`). So every answer is to be used before the next step.

When all KV is in place, the sequence is admitted: it runs from the next step
on as any other, and what it brought is named and shared as if computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as ReadOnly
from enum import Enum

from replicas.engine.plan import BlockId
from replicas.engine.scheduler import Scheduler
from replicas.engine.sequence import Sequence, SequenceState


class ArrivalState(Enum):
    """Where a sequence on its way here is."""

    RESERVED = "reserved"
    ADMITTED = "admitted"  # it is a sequence of this engine now
    DROPPED = "dropped"  # nothing of it is here


class Arrival:
    """The handle on a reservation. An engine makes it."""

    def __init__(
        self, sequence: Sequence, scheduler: Scheduler, *, enter: Callable[[Sequence], None]
    ) -> None:
        assert sequence.state is SequenceState.RESERVED
        self.held = sequence.named  # leading blocks that were found here: never written
        self._sequence = sequence
        self._scheduler = scheduler
        self._enter = enter
        self._is_admitted = False

    @property
    def state(self) -> ArrivalState:
        """Ask again after every step: the engine may have dropped it."""
        if self._is_admitted:
            return ArrivalState.ADMITTED
        if self._sequence.state is SequenceState.RESERVED:
            return ArrivalState.RESERVED
        return ArrivalState.DROPPED

    def blocks(self, first: int, stop: int) -> tuple[BlockId, ...] | None:
        """Where to write blocks `first` to `stop - 1`, before the next step.

        The table grows where it must; None when there is no room, or no
        reservation any more. ValueError for blocks that are not to be written:
        those held, or more than the sequence can ever fill.
        """
        sequence = self._sequence
        last = self._scheduler.room.blocks_of(len(sequence.request.prompt) + sequence.output_max)
        if not self.held <= first <= stop <= last:
            raise ValueError(f"Blocks {first} to {stop} are not within {self.held} to {last}.")
        if self.state is not ArrivalState.RESERVED or not self._scheduler.grow(sequence, stop):
            return None
        return tuple(sequence.block_table[first:stop])

    def admit(self, output: ReadOnly[int], computed: int) -> bool:
        """Let the sequence run, with its whole output and the KV of `computed` tokens in place.

        False when it was dropped, or is now for want of room. ValueError when
        this is not how the sequence that was announced can go on.
        """
        sequence = self._sequence
        self._check(output, computed)
        if self.state is not ArrivalState.RESERVED:
            return False
        sequence.take_over(output, computed)
        if not self._scheduler.take_over(sequence):
            self.drop()
            return False
        self._is_admitted = True
        self._enter(sequence)
        return True

    def drop(self) -> None:
        """Give a reservation up. Nothing happens in any other state."""
        if self.state is ArrivalState.RESERVED:
            self._scheduler.drop(self._sequence)

    def _check(self, output: ReadOnly[int], computed: int) -> None:
        request = self._sequence.request
        if tuple(output[: len(request.output)]) != request.output:
            raise ValueError("The output does not continue the one that was announced.")
        if len(output) >= self._sequence.output_max:
            raise ValueError(f"After {len(output)} tokens of output nothing is left to generate.")
        if not 0 <= computed < len(request.prompt) + len(output):
            raise ValueError(f"{computed} tokens cannot be all that were computed.")
