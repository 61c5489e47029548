"""Blocks of hot prefixes that come from another replica, before anybody asks here.

A block is taken from the free ones, written, and confirmed, which makes it
findable; all of that between two steps. What is not confirmed by then is
dropped, so warming never stands in the way of a sequence, and it evicts
nothing: a full cache is warm enough.
"""

from __future__ import annotations

from protos.hashing import BlockHash, block_hash
from replicas.engine.block_pool import BlockContent, BlockPool
from replicas.engine.plan import BlockId


class Warming:
    """Owner of the blocks that are being written."""

    def __init__(self, pool: BlockPool, *, block_size: int) -> None:
        self._pool = pool
        self._block_size = block_size
        self._contents: dict[BlockId, BlockContent] = {}

    @property
    def blocks(self) -> tuple[BlockId, ...]:
        """Those taken and not yet confirmed."""
        return tuple(self._contents)

    def take(self, content: BlockContent) -> BlockId | None:
        """A free block for this content; None if it is not wanted, or nothing is free.

        Not wanted is what is here already, what has no parent here or on its
        way, and what its name does not fit.
        """
        name = content.block_hash
        coming = {each.block_hash for each in self._contents.values()}
        has_parent = content.index == 0 or content.parent in coming or self._is_here(content.parent)
        if self._is_here(name) or name in coming or not has_parent or not self._is_sound(content):
            return None
        if not self._pool.blocks_free:
            return None
        block = self._pool.allocate()
        self._contents[block] = content
        return block

    def confirm(self, block: BlockId) -> bool:
        """Make a written block findable, parents first; False if it is dropped or not wanted."""
        content = self._contents.pop(block, None)
        if content is None:
            return False
        parents = self._parents(content)
        if parents is None or self._is_here(content.block_hash):
            self._pool.release(block)
            return False
        # As a sequence would: who names a block holds its parents, and lets go of them after it.
        for parent in parents:
            self._pool.share(parent)
        self._pool.name(block, content)
        self._pool.release_table([*parents, block])
        return True

    def drop(self) -> None:
        """Give back whatever was not confirmed."""
        for block in self._contents:
            self._pool.release(block)
        self._contents.clear()

    def _parents(self, content: BlockContent) -> list[BlockId] | None:
        """The blocks before this one, from the first; None unless all of them are here."""
        parents: list[BlockId] = []
        while content.index:
            block = self._pool.find(content.parent)
            before = None if block is None else self._pool.content(block)
            if block is None or before is None or before.index != content.index - 1:
                return None
            parents.append(block)
            content = before
        return parents[::-1]

    def _is_here(self, name: BlockHash) -> bool:
        return self._pool.find(name) is not None

    def _is_sound(self, content: BlockContent) -> bool:
        is_full = len(content.tokens) == self._block_size
        return is_full and block_hash(content.parent, content.tokens) == content.block_hash
