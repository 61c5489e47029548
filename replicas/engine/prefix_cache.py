"""Finds the blocks of a prefix, and makes computed blocks findable.

A block is found by its name and believed only if it also holds the same
tokens after the same parent: a collision of digests is a miss, never foreign
KV. A lookup pins what it finds in the same call, so nothing can be evicted
between the answer and its use.

Theory: when a block is stored under a name that another block has already,
the sequence takes a reference to that one and gives its own back. Hence every
findable block in a table is *the* block of its name, a parent in a table
cannot be evicted, and each next block of a sequence can be stored after it.
Where a collision forbids storing, the rest of the table stays private, also
when the other block is gone: siblings may share these blocks by then, and a
block is named by its only holder.
"""

from __future__ import annotations

from protos.hashing import reusable_blocks
from replicas.engine.block_pool import BlockContent, BlockPool
from replicas.engine.sequence import Sequence


class PrefixCache:
    """Reads and writes the names of a block pool on behalf of sequences."""

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool

    def match(self, sequence: Sequence) -> None:
        """Put the longest findable prefix into the sequence's empty table, referenced.

        The last token is never taken from the cache: its logits are needed.
        """
        assert not sequence.block_table and not sequence.named, "match into a table in use"
        for index in range(reusable_blocks(sequence.length, block_size=sequence.block_size)):
            block = self._pool.find(sequence.block_name(index))
            if block is None or self._pool.content(block) != content_of(sequence, index):
                return
            self._pool.share(block)
            sequence.block_table.append(block)
            sequence.named += 1

    def look_up(self, sequence: Sequence) -> None:
        """Note what `match` would find now: by names alone, and nothing is pinned."""
        sequence.found = sequence.found_in_use = 0
        for index in range(reusable_blocks(sequence.length, block_size=sequence.block_size)):
            block = self._pool.find(sequence.block_name(index))
            if block is None:
                return
            sequence.found += 1
            sequence.found_in_use += self._pool.references(block) > 0

    def put_back(self, sequence: Sequence) -> None:
        """Undo `match`, and note what it found."""
        sequence.found = sequence.named
        sequence.found_in_use = sum(self._pool.references(b) > 1 for b in sequence.block_table)
        self._pool.release_table(sequence.block_table)
        sequence.named = 0

    def count_finds(self, sequence: Sequence) -> None:
        """Note that one more request found what `match` put into the table."""
        for block in sequence.block_table[: sequence.named]:
            self._pool.count_find(block)

    def store(self, sequence: Sequence) -> None:
        """Make every full computed block of the sequence findable."""
        full = sequence.computed // sequence.block_size
        if full == sequence.named or sequence.is_private:
            return
        for index in range(sequence.named, full):
            content = content_of(sequence, index)
            own = sequence.block_table[index]
            present = self._pool.find(content.block_hash)
            if present is None:
                self._pool.name(own, content)
            elif self._pool.content(present) == content:
                self._pool.share(present)
                sequence.block_table[index] = present
                self._pool.release(own)
            else:
                sequence.is_private = True
                return
            sequence.named += 1


def content_of(sequence: Sequence, index: int) -> BlockContent:
    """What the sequence's full block at `index` holds."""
    return BlockContent(
        block_hash=sequence.block_name(index),
        parent=sequence.parent_name(index),
        index=index,
        tokens=sequence.block_tokens(index),
    )
