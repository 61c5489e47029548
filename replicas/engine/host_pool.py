"""Owner of host memory for KV, by slots: what preempted sequences keep there, to be loaded again.

A preempted sequence has two ways back. Either it computes again what was
evicted meanwhile, or its blocks were saved in host memory before they were
given away, and are loaded when it is admitted: it was *paused*. What is
cheaper is decided for each preemption, by what moving a block takes out and
back and what computing a token takes.

Only blocks that nobody else holds are saved. They are the last ones of its
table; those before them live on with who shares them, or in the cache. If they
are gone when the sequence comes back, what was saved behind the gap is
dropped, and computed as if it had never been saved. If not all fit, the leading
ones are saved: each is worth as much as it costs.

Theory: a slot is taken for a save and given back when its load is planned, or
when its sequence is. Within a plan saves come before loads, and all preemptions
before all admissions, so no slot is saved over before it was loaded. Only
sequences that are preempted hold slots.
"""

from __future__ import annotations

from collections.abc import Iterable

from replicas.engine.block_pool import BlockPool
from replicas.engine.config import EngineConfig
from replicas.engine.plan import BlockLoad, BlockSave, HostSlot
from replicas.engine.sequence import Sequence, SequenceState
from replicas.engine.stored import NOTHING_STORED, Stored


class HostPool:
    """Hands out slots and notes what they hold. Moves nothing itself."""

    def __init__(self, config: EngineConfig, pool: BlockPool) -> None:
        self.slots_total = config.host_blocks
        self.restored_tokens = 0  # whose KV was loaded instead of computed again
        self._config = config
        self._pool = pool
        self._free = [HostSlot(number) for number in reversed(range(config.host_blocks))]

    @property
    def slots_used(self) -> int:
        """Slots that hold a block of somebody."""
        return self.slots_total - len(self._free)

    def save(self, sequence: Sequence) -> tuple[BlockSave, ...]:
        """Pause a sequence that is about to lose its blocks, if that is cheaper: what to save.

        It is to be saved before the blocks are written, or forgotten.
        """
        assert sequence.stored is NOTHING_STORED, f"{sequence.label} has blocks in both places"
        size, table = sequence.block_size, sequence.block_table
        filled = table[: -(-sequence.computed // size)]
        first = len(filled) - self._pool.blocks_own(filled)
        blocks = filled[first : first + len(self._free)]
        start = first * size
        stop = min(sequence.computed, start + len(blocks) * size)
        move_ns = len(blocks) * self._config.host_block_ns
        if move_ns >= (stop - start) * self._config.prompt_token_ns:
            return ()
        slots = tuple(self._free.pop() for _ in blocks)
        sequence.stored = Stored(start, stop, slots)
        return tuple(map(BlockSave, blocks, slots))

    def load(self, sequence: Sequence) -> tuple[BlockLoad, ...]:
        """What fills the blocks of an admitted sequence behind its named ones. Its slots are free.

        Nobody may save to them before it is loaded, that is in the same plan.
        """
        size, stored = sequence.block_size, sequence.stored
        blocks = sequence.block_table[sequence.named : -(-sequence.computed // size)]
        slots = stored.slots[sequence.named - stored.start // size :] if blocks else ()
        loads = tuple(BlockLoad(slot, block) for slot, block in zip(slots, blocks, strict=True))
        self.restored_tokens += sequence.computed - sequence.named * size
        self.forget(sequence)
        return loads

    def forget(self, sequence: Sequence) -> None:
        """Give back the slots of a sequence, if it has any."""
        self._free.extend(reversed(sequence.stored.slots))
        sequence.stored = NOTHING_STORED

    def check(self, sequences: Iterable[Sequence]) -> None:
        """Assert that each slot is free or held once, by one of these who is preempted."""
        held = list(self._free)
        for sequence in sequences:
            stored = sequence.stored
            assert not stored.slots or sequence.state is SequenceState.PREEMPTED, (
                f"{sequence.label} holds slots of the host while it is {sequence.state.value}"
            )
            blocks = -(-stored.stop // sequence.block_size) - stored.start // sequence.block_size
            assert blocks == len(stored.slots), f"{sequence.label} has stored something else"
            held.extend(stored.slots)
        assert sorted(held) == list(range(self.slots_total)), "slots of the host were lost or lent"
