"""Owner of every KV block of a replica, by id: who uses it, and what it is named.

A block is in exactly one of three places. *Free*: it holds nothing. *Used*: at
least one block table refers to it. *Cached*: no table does, but it has a name,
so a later prompt may find it; such blocks are the evictable ones, and the one
released longest ago goes first.

Theory: tables acquire blocks head first and release them tail first, and
whoever holds a named block holds its named parents. So a parent never has
fewer references than its child, and it becomes evictable after the child: the
oldest evictable block never has a named child. The names are therefore closed
under "parent" at all times, which a lookup by name relies on; eviction asserts
it and `check` proves it. One name belongs to one block at a time.

The pool knows ids and names. What the names mean is the prefix cache's matter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protos.hashing import BlockHash
from protos.messages import BlockEvent, BlockRemoved, BlockStored
from replicas.engine.plan import BlockId


@dataclass(frozen=True, slots=True)
class BlockContent:
    """What a named block holds. Equal content means the same KV, whatever the digest says."""

    block_hash: BlockHash
    parent: BlockHash  # the root of the chain for a first block
    index: int  # place in the chain; 0 is the first block of a prompt
    tokens: tuple[int, ...]


Found = tuple[BlockId, BlockContent]


class BlockPool:
    """Hands out blocks, counts references, remembers names. Never blocks, never copies."""

    def __init__(self, blocks_total: int) -> None:
        self.blocks_total = blocks_total
        self.blocks_shared = 0  # in two tables or more
        self._references = [0] * blocks_total
        self._free = [BlockId(number) for number in reversed(range(blocks_total))]
        self._evictable: OrderedDict[BlockId, None] = OrderedDict()  # released longest ago first
        self._contents: dict[BlockId, BlockContent] = {}  # in order of naming
        self._by_name: dict[BlockHash, BlockId] = {}  # in order of naming: parents first
        self._children: Counter[BlockHash] = Counter()  # named children of a name or a root
        self._finds = [0] * blocks_total  # how many requests found the block since it was named
        self._events: list[BlockEvent] = []

    @property
    def blocks_free(self) -> int:
        """Blocks that hold nothing."""
        return len(self._free)

    @property
    def blocks_cached(self) -> int:
        """Named blocks that no table refers to."""
        return len(self._evictable)

    @property
    def blocks_used(self) -> int:
        """Blocks in at least one table."""
        return self.blocks_total - self.blocks_available

    @property
    def blocks_available(self) -> int:
        """How many times `allocate` can be called now: the one definition of room."""
        return len(self._free) + len(self._evictable)

    def allocate(self) -> BlockId:
        """An unnamed block with one reference, the caller's. There must be one available."""
        assert self.blocks_available, "allocate from a pool without an available block"
        block = self._free.pop() if self._free else self._evict()
        assert self._references[block] == 0 and block not in self._contents, f"{block} is taken"
        self._references[block] = 1
        return block

    def share(self, block: BlockId) -> None:
        """One more reference to a block that is used or cached."""
        if self._references[block] == 0:
            assert block in self._evictable, f"share of free block {block}"
            del self._evictable[block]
        self._references[block] += 1
        if self._references[block] == 2:
            self.blocks_shared += 1

    def release(self, block: BlockId) -> None:
        """Give a reference back. The last one makes the block cached, or free if unnamed."""
        assert self._references[block] > 0, f"release of block {block}, which nobody holds"
        self._references[block] -= 1
        if self._references[block]:
            if self._references[block] == 1:
                self.blocks_shared -= 1
            return
        if block in self._contents:
            self._evictable[block] = None
        else:
            self._free.append(block)

    def release_table(self, table: list[BlockId]) -> None:
        """Release a whole block table, tail first, and empty it: nobody can release it twice."""
        while table:
            self.release(table.pop())

    def references(self, block: BlockId) -> int:
        """How many block tables refer to the block."""
        return self._references[block]

    def blocks_own(self, table: Sequence[BlockId]) -> int:
        """How many of a table's blocks nobody else holds.

        They are its last ones: whoever holds a block holds those before it, so
        counts never grow along a table, and a thousand blocks take ten looks.
        """
        return len(table) - bisect_left(table, True, key=lambda block: self.references(block) == 1)

    def name(self, block: BlockId, content: BlockContent) -> None:
        """Make a full block findable. Its only holder names it, once, after its parent."""
        assert self._references[block] == 1, f"naming of block {block}, which is not one holder's"
        assert block not in self._contents, f"block {block} has a name already"
        assert content.block_hash not in self._by_name, "two blocks of one name"
        assert content.index == 0 or content.parent in self._by_name, "child without its parent"
        self._contents[block] = content
        self._by_name[content.block_hash] = block
        self._children[content.parent] += 1
        self._finds[block] = 0
        self._events.append(BlockStored(content.block_hash))

    def find(self, block_hash: BlockHash) -> BlockId | None:
        """The block of this name, unless there is none."""
        return self._by_name.get(block_hash)

    def content(self, block: BlockId) -> BlockContent | None:
        """What a block was named for; None while it has no name."""
        return self._contents.get(block)

    def find_chain(self, contents: Sequence[BlockContent]) -> tuple[Found, ...]:
        """The leading ones of these that are here, each with all that it must hold."""
        found: list[Found] = []
        for content in contents:
            block = self._by_name.get(content.block_hash)
            if block is None or self._contents[block] != content:
                break
            found.append((block, self._contents[block]))
        return tuple(found)

    def intact(self, found: Sequence[Found]) -> int:
        """How many of the leading ones have kept their names since `find_chain`."""
        for count, (block, content) in enumerate(found):
            # The very one: a block that was evicted and named alike again has another.
            if self._contents.get(block) is not content:
                return count
        return len(found)

    def count_find(self, block: BlockId) -> None:
        """One more request begins with this named block."""
        assert block in self._contents, f"find of block {block}, which has no name"
        self._finds[block] += 1

    def hot(self, limit: int) -> tuple[tuple[BlockId, BlockContent], ...]:
        """The named blocks that most requests found, at most `limit`, parents before children.

        A parent is found with its child, so never less often, and it is named before.
        """
        found = [(block, each) for block, each in self._contents.items() if self._finds[block]]
        found.sort(key=lambda pair: -self._finds[pair[0]])  # stable: in order of naming
        return tuple(found[:limit])

    def names(self) -> tuple[BlockHash, ...]:
        """Every name that `find` knows, parents before children."""
        return tuple(self._by_name)

    def take_events(self) -> tuple[BlockEvent, ...]:
        """What was stored and removed since the last call, in order."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def check(self, tables: Iterable[Sequence[BlockId]]) -> None:
        """Assert that the counts are those of `tables`, and that the names are closed."""
        counted: Counter[BlockId] = Counter()
        for table in tables:
            assert len(set(table)) == len(table), f"a block twice in the table {table}"
            counted.update(table)
        for number, references in enumerate(self._references):
            block = BlockId(number)
            assert references == counted[block], (
                f"block {block} has {references} references, tables have {counted[block]}"
            )
        free, cached = set(self._free), set(self._evictable)
        used = {BlockId(number) for number, count in enumerate(self._references) if count}
        assert len(free) == len(self._free), "a block is twice in the free list"
        assert not free & cached and not free & used and not cached & used, "a block in two places"
        assert len(free | cached | used) == self.blocks_total, "a block was lost"
        shared = sum(count > 1 for count in self._references)
        assert shared == self.blocks_shared, f"{shared} blocks shared, {self.blocks_shared} counted"
        self._check_names(free, cached)

    def _check_names(self, free: set[BlockId], cached: set[BlockId]) -> None:
        assert not free & self._contents.keys(), "a free block has a name"
        assert cached <= self._contents.keys(), "a cached block has no name"
        assert len(self._by_name) == len(self._contents), "a name without a block"
        seen: set[BlockHash] = set()
        children: Counter[BlockHash] = Counter()
        for block_hash, block in self._by_name.items():
            content = self._contents[block]
            assert content.block_hash == block_hash, f"block {block} is found by a stale name"
            assert content.index == 0 or content.parent in seen, f"block {block} has no parent"
            seen.add(block_hash)
            children[content.parent] += 1
        assert children == self._children, "children are miscounted"

    def _evict(self) -> BlockId:
        block, _ = self._evictable.popitem(last=False)
        content = self._contents.pop(block)
        assert self._children[content.block_hash] == 0, f"eviction of block {block} orphans a child"
        del self._by_name[content.block_hash]
        self._children[content.parent] -= 1
        if not self._children[content.parent]:
            del self._children[content.parent]
        self._events.append(BlockRemoved(content.block_hash))
        return block
