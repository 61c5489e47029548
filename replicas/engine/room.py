"""Whether a sequence has room to run, and who must yield so that it has.

Room is a place among `sequences_max`, a block for every token known, and some
blocks to spare for those beside which it will run: the watermark lets them
grow, and the headroom lets someone interactive in without a preemption. The
headroom is lent to everybody once nobody interactive has been here for some
steps. Alone a sequence may take everything.

To a head of the line yield, in this order and no more of them than it needs:
what held sequences keep from being evicted, the latest first, which costs them
nothing yet; reservations of its class and worse ones, the latest first; then those running
that are of a worse class, the last first. If nothing runs, every reservation
yields, so that somebody always runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as ReadOnly
from itertools import takewhile

from replicas.engine.block_pool import BlockPool
from replicas.engine.config import EngineConfig
from replicas.engine.line import Line
from replicas.engine.plan import BlockId
from replicas.engine.sequence import Sequence, SequenceState


class Room:
    """Counts; moves no block and no sequence."""

    def __init__(self, config: EngineConfig, pool: BlockPool, line: Line) -> None:
        self._config = config
        self._pool = pool
        self._line = line
        self._headroom_steps_left = 0

    def begin_steps(self, count: int = 1) -> None:
        """Note whether somebody interactive is here. Both lists begin with the best class."""
        heads = (*self._line.running[:1], *self._line.waiting[:1])
        if any(sequence.rank == 0 for sequence in heads):
            self._headroom_steps_left = self._config.headroom_steps
        else:
            self._headroom_steps_left = max(0, self._headroom_steps_left - count)

    @property
    def is_lent(self) -> bool:
        """Whether nobody interactive has been here for some steps: others may take everything."""
        return not self._headroom_steps_left

    def suffices(self, sequence: Sequence) -> bool:
        """Whether a sequence, its prefix matched, could run now."""
        return self._suffices(sequence, (), 0)

    def can_spare(self, blocks: int, sequence: Sequence) -> bool:
        """Whether so many can be taken for a sequence that is held, and those that run can grow."""
        spare = self._config.watermark_blocks * self._line.places_taken
        return self._pool.blocks_available >= blocks + spare + self._headroom_before(sequence)

    def rivals(self, head: Sequence) -> list[Sequence]:
        """Who yields to this head, the first to do so first."""
        is_alone = not self._line.running
        held = [sequence for sequence in reversed(self._line.held) if sequence.block_table]
        reserved = [
            sequence
            for sequence in reversed(self._line.reserved)
            if is_alone or sequence.rank >= head.rank
        ]
        worse = takewhile(lambda one: one.rank > head.rank, reversed(self._line.running))
        return [*held, *reserved, *worse]

    def rivals_to_yield(self, head: Sequence, rivals: list[Sequence]) -> int:
        """The fewest that let the matched head in; 0 if none need, or if all are too few."""
        if self.suffices(head):
            return 0
        held: Counter[BlockId] = Counter()  # references that would be given back
        blocks = 0
        for count, rival in enumerate(rivals, 1):
            held.update(rival.block_table)
            blocks += sum(held[b] == self._pool.references(b) for b in rival.block_table)
            if self._suffices(head, rivals[:count], blocks):
                return count
        return 0

    def blocks_of(self, tokens: int) -> int:
        """Blocks that hold so many tokens."""
        return -(-tokens // self._config.card.block_size)

    def _suffices(self, sequence: Sequence, gone: ReadOnly[Sequence], blocks_yielded: int) -> bool:
        line = self._line
        placed = [other for other in gone if other.state is not SequenceState.HELD]
        yielded = sum(1 + other.unforked for other in placed)
        beside = line.places_taken - yielded + sequence.unforked
        if beside + 1 > self._config.sequences_max:
            return False
        spare = 0
        if len(line.running) + len(line.reserved) > len(placed):
            spare = self._config.watermark_blocks * beside + self._headroom_before(sequence)
        wanted = self.blocks_of(sequence.length) - len(sequence.block_table)
        return self._pool.blocks_available + blocks_yielded >= wanted + spare

    def _headroom_before(self, sequence: Sequence) -> int:
        """Blocks that it leaves to the interactive class."""
        return self._config.headroom_blocks if sequence.rank and not self.is_lent else 0
