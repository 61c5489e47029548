"""Spreading the beginnings that many requests share, from replica to replica.

The giver reads between two steps what is hot at that moment, so no block can
be reused while it is read. The taker believes no name: it computes the chain
from the tokens, beginning at the root of its own card, and drops what does not
fit. Chains of salted requests begin at roots that only those who know the salt
can compute, so they are neither given nor taken.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial

from protos.hashing import BlockHash, block_hash
from protos.messages import ModelCard
from protos.moves import Peer
from replicas.engine.block_pool import BlockContent
from replicas.engine.plan import BlockId
from replicas.shell.clock import now_ns
from replicas.shell.moves.channel import PeerLost, Peers, WarmBlock
from replicas.shell.moves.home import Answer, Home
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.stepper import SteppingEnded

Learn = Callable[[int, int], None]


def learn_nothing(_blocks: int, _took_ns: int) -> None:
    """Nobody asks what it costs."""


class OtherCard(Exception):
    """Blocks of this replica mean nothing to one of another model, or another layout."""


class Spreading:
    """Gives hot blocks of `home` to other replicas, and takes theirs."""

    def __init__(
        self, home: Home, peers: Peers, limits: MoveLimits, learn: Learn = learn_nothing
    ) -> None:
        """`learn` is told how many blocks came in how many nanoseconds."""
        self._learn = learn
        self._home = home
        self._peers = peers
        self._limits = limits

    async def give(
        self, card: ModelCard, blocks_max: int
    ) -> AsyncGenerator[tuple[WarmBlock, ...], None]:
        """Hot blocks in chunks, parents first. Raises OtherCard, or PeerLost if this one stops."""
        if card != self._home.card:
            raise OtherCard(f"{self._home.card.name} {self._home.card.revision} is served here")
        limit = min(blocks_max, self._limits.warm_blocks_max)
        given: dict[BlockHash, int] = {}
        chunk_blocks = 1  # until the first payload says how large a block is
        while len(given) < limit:
            count = min(chunk_blocks, limit - len(given))
            chunk = await self._at_boundary(partial(self._read, given, limit, count))
            if not chunk:
                return
            chunk_blocks = max(1, self._limits.chunk_bytes_max // len(chunk[0].payload))
            yield chunk

    async def pull(self, peer: Peer) -> bool:
        """Take what the peer gives, as far as there is room; False if it could not be had."""
        known: dict[BlockHash, int] = {}
        began_ns = now_ns()
        blocks = self._peers.warm(peer, self._home.card, self._limits.warm_blocks_max)
        try:
            async for chunk in blocks:
                await self._at_boundary(partial(self._write, known, chunk))
        except (PeerLost, OtherCard):
            return False
        finally:
            await blocks.aclose()
        self._learn(len(known), now_ns() - began_ns)
        return True

    async def _read(
        self, given: dict[BlockHash, int], limit: int, count: int
    ) -> tuple[WarmBlock, ...]:
        """The next blocks of those that are hot now."""
        chosen: list[tuple[BlockId, BlockContent]] = []
        for block, content in self._home.engine.hot_blocks(limit):
            if len(chosen) == count:
                break
            if content.block_hash not in given and self._follows(given, content):
                given[content.block_hash] = content.index
                chosen.append((block, content))
        payloads = await self._home.executor.read_blocks([block for block, _ in chosen])
        return tuple(
            WarmBlock(content.parent, content.index, content.tokens, payload)
            for (_, content), payload in zip(chosen, payloads, strict=True)
        )

    async def _write(self, known: dict[BlockHash, int], chunk: tuple[WarmBlock, ...]) -> None:
        """Put in place, and make findable, what fits and is wanted."""
        engine = self._home.engine
        taken: list[tuple[BlockId, bytes]] = []
        for each in chunk:
            name = block_hash(each.parent, each.tokens)
            content = BlockContent(name, each.parent, each.index, each.tokens)
            if self._follows(known, content):
                known[name] = each.index
                block = engine.import_block(content)
                if block is not None:
                    taken.append((block, each.payload))
        blocks, payloads = [block for block, _ in taken], [payload for _, payload in taken]
        try:
            await self._home.executor.write_blocks(blocks, payloads)
        except ValueError as error:
            raise PeerLost(f"sent what is no block: {error}") from error
        for block in blocks:
            engine.confirm_block(block)

    def _follows(self, known: dict[BlockHash, int], content: BlockContent) -> bool:
        """Whether its chain, seen from its root, is known up to this block."""
        if content.index == 0:
            return content.parent == self._home.card.scope()
        return known.get(content.parent) == content.index - 1

    async def _at_boundary(self, job: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await self._home.at_boundary(job)
        except SteppingEnded:
            raise PeerLost("this replica stops") from None
