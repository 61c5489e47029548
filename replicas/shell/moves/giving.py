"""The blocks that another replica asks for by name, given as far as they are here.

Names are chains over the model's card and the tenant's salt, so whoever can
name a block knows all that it was computed from; he says the tokens besides,
and a block that holds others is not given. Each chunk is read between two steps
and travels while the engine goes on. Nothing is kept for a copy: what is
evicted before its turn ends it, and the asker computes the rest.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

from protos.moves import CopyAsk, CopyChunk
from replicas.engine.block_pool import BlockContent
from replicas.shell.moves.budget import ByteBudget
from replicas.shell.moves.channel import PeerDeclined, PeerLost
from replicas.shell.moves.checksum import checksum
from replicas.shell.moves.home import Home
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.stepper import SteppingEnded


class Giving:
    """Gives blocks of `home` to those who name them."""

    def __init__(self, home: Home, limits: MoveLimits) -> None:
        self._home = home
        self._limits = limits
        self._budget = ByteBudget(limits.copy_bytes_per_s)
        self._given_now = 0
        self._block_bytes: int | None = None  # known once one was read

    async def give(self, ask: CopyAsk) -> AsyncGenerator[CopyChunk, None]:
        """In chunks, in the order of the chain. Raises PeerDeclined, or PeerLost if it stops."""
        if ask.card != self._home.card:
            raise PeerDeclined(f"{self._home.card.name} {self._home.card.revision} is served here")
        if self._given_now >= self._limits.copies_out_max:
            raise PeerDeclined(f"{self._given_now} copies go out already")
        chain = contents_of(ask)
        self._given_now += 1
        try:
            # The whole chain is compared once; what follows a block that is here is its child.
            compared, first = 0, ask.first
            while first < len(chain):
                await self._budget.wait()
                chunk = await self._at_boundary(chain, compared, first)
                if not chunk.payloads:
                    return
                self._budget.spend(sum(map(len, chunk.payloads)))
                compared = first = first + len(chunk.payloads)
                yield chunk
        finally:
            self._given_now -= 1

    async def _at_boundary(
        self, chain: tuple[BlockContent, ...], compared: int, first: int
    ) -> CopyChunk:
        try:
            return await self._home.at_boundary(partial(self._read, chain, compared, first))
        except SteppingEnded:
            raise PeerLost("this replica stops") from None

    async def _read(self, chain: tuple[BlockContent, ...], compared: int, first: int) -> CopyChunk:
        stop = first + self._chunk_blocks
        found = self._home.engine.find_blocks(chain[compared:stop])
        payloads = await self._home.executor.read_blocks(found[first - compared :])
        if payloads:
            self._block_bytes = len(payloads[0])
        return CopyChunk(first, payloads, checksum(payloads))

    @property
    def _chunk_blocks(self) -> int:
        if self._block_bytes is None:
            return 1
        return max(1, self._limits.copy_chunk_bytes_max // self._block_bytes)


def contents_of(ask: CopyAsk) -> tuple[BlockContent, ...]:
    """The blocks that are asked for, and those before them. Raises PeerDeclined for nonsense."""
    size = ask.card.block_size
    if len(ask.tokens) != size * len(ask.names) or not 0 <= ask.first <= len(ask.names):
        raise PeerDeclined(f"{len(ask.names)} names from {ask.first}, {len(ask.tokens)} tokens")
    parents = (ask.root, *ask.names)
    return tuple(
        BlockContent(name, parents[index], index, ask.tokens[index * size : (index + 1) * size])
        for index, name in enumerate(ask.names)
    )
