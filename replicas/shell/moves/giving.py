"""The blocks that another replica asks for by name, given as far as they are here.

Names are chains over the model's card and the tenant's salt, so whoever can
name a block knows all that it was computed from; he says the tokens besides,
and a block that holds others is not given.

A copy costs its source next to nothing. It holds no block, and no step waits for
it: nobody writes to a block that is findable, so it is read at any time, and
looked at again afterwards; what was evicted meanwhile may be anything, is not
given, and ends the copy. The asker computes the rest.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from protos.moves import CopyAsk, CopyChunk
from replicas.engine.block_pool import BlockContent
from replicas.shell.moves.budget import ByteBudget
from replicas.shell.moves.channel import PeerDeclined
from replicas.shell.moves.checksum import checksum
from replicas.shell.moves.home import Home
from replicas.shell.moves.limits import MoveLimits


class Giving:
    """Gives blocks of `home` to those who name them."""

    def __init__(self, home: Home, limits: MoveLimits, *, bytes_per_s: int) -> None:
        """All copies out together go at most so fast; 0: none do."""
        self._home = home
        self._limits = limits
        self._budget = ByteBudget(bytes_per_s) if bytes_per_s else None
        self._given_now = 0
        self._is_open = True
        self._block_bytes: int | None = None  # known once one was read

    @property
    def unread_s(self) -> float:
        """Whoever has not read a chunk after this is not given any more."""
        return self._limits.copy_unread_ms_max / 1000

    async def give(self, ask: CopyAsk) -> AsyncGenerator[CopyChunk, None]:
        """In chunks, in the order of the chain, until one is not here. Raises PeerDeclined."""
        if not self._is_open:
            raise PeerDeclined("this replica has failed")
        budget = self._budget
        if budget is None:
            raise PeerDeclined("nothing is copied from here")
        if ask.card != self._home.card:
            raise PeerDeclined(f"{self._home.card.name} {self._home.card.revision} is served here")
        if self._given_now >= self._limits.copies_out_max:
            raise PeerDeclined(f"{self._given_now} copies go out already")
        chain = contents_of(ask)
        self._given_now += 1
        try:
            # The whole chain is compared once; what follows a block that is here is its child.
            compared, first = 0, ask.first
            while first < len(chain) and self._is_open:
                await budget.wait()
                payloads = await self._read(chain, compared, first)
                if not payloads:
                    return
                budget.spend(sum(map(len, payloads)))
                yield CopyChunk(first, payloads, checksum(payloads))
                compared = first = first + len(payloads)
        finally:
            self._given_now -= 1

    def close(self) -> None:
        """Give nothing from now on: what is in the blocks cannot be trusted any more."""
        self._is_open = False

    async def _read(
        self, chain: tuple[BlockContent, ...], compared: int, first: int
    ) -> tuple[bytes, ...]:
        """The next blocks, less what was evicted while it was read."""
        engine = self._home.engine
        found = engine.find_blocks(chain[compared : first + self._chunk_blocks])[first - compared :]
        payloads = await self._home.executor.read_blocks([block for block, _ in found])
        if payloads:
            self._block_bytes = len(payloads[0])
        return payloads[: engine.intact(found)]

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
