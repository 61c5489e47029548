"""A sequence that waits beside the line while its first blocks are copied here.

Whoever copies them writes them between two steps, in the order of the chain,
and each is findable as soon as it is named: others may use it at once. The
sequence keeps what has come from being evicted, but no more than that: when
somebody lacks a block, it is cached like any other, and may be gone when the
next one comes. A copy evicts what is cached, and preempts nobody.

The request is never in the copy's hands: it may be cancelled, overdue or handed
back at any time, which ends the hold. Let go, at the latest when the copy has
failed, it takes the place in the line that it would have had, and whatever is
here then is a hit like any other.
"""

from __future__ import annotations

from enum import Enum

from replicas.engine.block_pool import BlockContent
from replicas.engine.plan import BlockId
from replicas.engine.prefix_cache import content_of
from replicas.engine.scheduler import Scheduler
from replicas.engine.sequence import Sequence, SequenceState


class HoldState(Enum):
    """What has become of a sequence that was held."""

    HELD = "held"
    LET_GO = "let_go"  # it waits for its turn, or has had it
    LEFT = "left"  # cancelled, overdue or handed back before it was let go


class Hold:
    """The one handle on a held sequence. An engine makes it."""

    def __init__(self, sequence: Sequence, scheduler: Scheduler) -> None:
        assert sequence.state is SequenceState.HELD and sequence.mover is None
        self._sequence = sequence
        self._scheduler = scheduler
        self._is_let_go = False
        sequence.mover = self

    @property
    def state(self) -> HoldState:
        """Ask again after whatever may have ended the sequence."""
        if self._sequence.mover is self:
            return HoldState.HELD
        return HoldState.LET_GO if self._is_let_go else HoldState.LEFT

    @property
    def deadline_ns(self) -> int | None:
        """When nobody wants it any more unless it has begun; None: there is no such time."""
        return self._sequence.deadline_ns

    def look(self) -> range:
        """Which of its first blocks are not here now; those that are stay. Only while HELD."""
        self._scheduler.keep(self._sequence)
        return range(self._sequence.named, max(self._sequence.named, self._sequence.wanted))

    def contents(self, stop: int) -> tuple[BlockContent, ...]:
        """What its first `stop` blocks must hold: nothing else will do in their place."""
        return tuple(content_of(self._sequence, index) for index in range(stop))

    def take(self, first: int, count: int) -> tuple[BlockId, ...] | None:
        """Where to write blocks `first` to `first + count - 1`, before the next step.

        None when it is held no longer, when those before them are not all here
        (any more), or when there is no room. What is taken is `put` before the
        next step, or given back by `settle`.
        """
        sequence = self._sequence
        if self.state is not HoldState.HELD:
            return None
        if sequence.named != first:
            self._scheduler.keep(sequence)
        if sequence.named != first or not self._scheduler.add_blocks(sequence, count):
            return None
        return tuple(sequence.block_table[first:])

    def put(self) -> bool:
        """What was taken is written: it is findable now. False if it is not wanted any more."""
        return self.state is HoldState.HELD and self._scheduler.name_blocks(self._sequence)

    def settle(self) -> None:
        """Give back what was taken and not put. To be called in any case, and in any state."""
        if self.state is HoldState.HELD:
            self._scheduler.settle(self._sequence)

    def let_go(self) -> None:
        """The sequence takes its place in the line. Nothing happens in any other state."""
        if self.state is HoldState.HELD:
            self._is_let_go = True
            self._scheduler.let_go(self._sequence)
