"""A running sequence on its way to another replica, seen from where it runs.

Whoever moves it reads its blocks while it goes on decoding, freezes it at a
step's boundary, reads the rest, and then completes the export, or lets it go
on here. Until `complete` the sequence belongs to this engine: it can finish,
be cancelled or be preempted at any time, and then the export is over, frozen
or not, whatever was read.

What it reads stays true: the KV of a computed token never changes, although a
block may be replaced by another one of the same content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from protos.messages import Request
from replicas.engine.plan import BlockId
from replicas.engine.sequence import Sequence, SequenceState


class ExportState(Enum):
    """Where a sequence that may leave is."""

    LIVE = "live"  # decodes on
    FROZEN = "frozen"  # has its blocks and its place, and is in no step
    GONE = "gone"  # left, finished, cancelled or preempted; or the export was abandoned


class Export:
    """The one open handle on a sequence. An engine makes it."""

    def __init__(
        self,
        sequence: Sequence,
        *,
        is_mid_step: Callable[[], bool],
        leave: Callable[[Sequence], None],
    ) -> None:
        assert sequence.is_running and not sequence.unforked and sequence.mover is None
        self._sequence = sequence
        self._is_mid_step = is_mid_step
        self._leave = leave
        sequence.mover = self

    @property
    def state(self) -> ExportState:
        """Ask again after whatever may have ended the sequence; GONE is for ever."""
        if self._sequence.mover is not self:
            return ExportState.GONE
        if self._sequence.state is SequenceState.FROZEN:
            return ExportState.FROZEN
        return ExportState.LIVE

    @property
    def computed(self) -> int:
        """Tokens whose KV is in place. Only grows, and not while FROZEN."""
        return self._sequence.computed

    def request(self) -> Request:
        """As if to resume it elsewhere: one choice, with all of its output so far."""
        sequence = self._sequence
        return replace(
            sequence.request,
            choices=1,
            first_choice=sequence.choice,
            output=tuple(sequence.output),
        )

    def blocks(self, first: int, stop: int) -> tuple[BlockId, ...]:
        """Blocks `first` to `stop - 1` of its table, to be read before the next step."""
        assert self.state is not ExportState.GONE, "blocks of a sequence that is gone"
        assert 0 <= first <= stop <= len(self._sequence.block_table), "blocks that it has not"
        return tuple(self._sequence.block_table[first:stop])

    def freeze(self) -> None:
        """Take a LIVE sequence out of all steps from now on. Only between two steps."""
        assert self.state is ExportState.LIVE, f"freeze of an export that is {self.state.value}"
        assert not self._is_mid_step(), "freeze while a step is computed"
        self._sequence.move_to(SequenceState.FROZEN)

    def thaw(self) -> None:
        """Let a FROZEN sequence go on here. Nothing happens in any other state."""
        if self.state is ExportState.FROZEN:
            self._sequence.move_to(SequenceState.RUNNING)

    def complete(self) -> None:
        """The sequence is at its target: a FROZEN one leaves, without a delta."""
        assert self.state is ExportState.FROZEN, f"complete of an export that is {self.state.value}"
        self._leave(self._sequence)

    def abandon(self) -> None:
        """Forget the export. The sequence, if it is here, goes on, and may be exported again."""
        self.thaw()
        if self.state is ExportState.LIVE:
            self._sequence.mover = None
