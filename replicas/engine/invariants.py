"""What must hold of an engine's sequences and blocks between any two calls.

Line and pool check themselves; here is what only both together can show: that
names say what the sequences hold, and that the plan in flight writes where
nobody else reads.
"""

from __future__ import annotations

from collections.abc import Iterable

from replicas.engine.block_pool import BlockPool
from replicas.engine.draft import Step
from replicas.engine.plan import BlockId, Row
from replicas.engine.sequence import Sequence, SequenceState


def check_names(sequences: Iterable[Sequence], pool: BlockPool) -> None:
    """Assert that named blocks hold what they are named for, and that no other has a name."""
    for sequence in sequences:
        for index, block in enumerate(sequence.block_table):
            content, label = pool.content(block), sequence.label
            if index >= sequence.named:
                assert content is None, f"{label}: block {block} is findable before it is computed"
                continue
            assert content is not None, f"{label}: block {block} has lost its name"
            foreign = f"{label}: foreign block {block}"
            assert content.tokens == sequence.block_tokens(index), foreign
            assert content.parent == sequence.parent_name(index), foreign


def check_sharing(sequences: Iterable[Sequence], pool: BlockPool) -> None:
    """Assert that no block of a table is held by more than the one before it."""
    for sequence in sequences:
        counts = [pool.references(block) for block in sequence.block_table]
        assert counts == sorted(counts, reverse=True), f"{sequence.label}: shared {counts}"


def check_writes(step: Step, pool: BlockPool, *, block_size: int) -> None:
    """Assert that the rows of a plan in flight write only to blocks that nobody else reads."""
    for sequence, row in zip(step.sequences, step.plan.rows, strict=True):
        if sequence.state is SequenceState.FINISHED:
            continue
        for block in _written(row, step.plan.steps_max, block_size):
            assert pool.references(block) == 1, f"a write to the shared block {block}"
            assert pool.content(block) is None, f"a write to the findable block {block}"


def _written(row: Row, steps_max: int, block_size: int) -> Iterable[BlockId]:
    stop = row.start + len(row.tokens) + steps_max - 1
    return row.block_table[row.start // block_size : -(-stop // block_size)]
