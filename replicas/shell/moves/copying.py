"""Copying the first blocks of a request from a replica that holds them, before it begins.

A request that names a source is in the engine from its submission on, and is
held there (replicas.engine.hold) while its blocks come. They come in the order
of the chain; what arrives between two steps is written at the next boundary,
all at once, and findable from then on. Blocks that somebody is fetching
already are waited for and not fetched twice; those that have come in another
way meanwhile are skipped.

Nothing here can fail a request. A source that is gone, late, busy, of another
model or has evicted meanwhile, a chunk that does not fit, no room, too many
copies: the request takes its place in the line, finds what has come, and
computes the rest. How each ended is counted. Time is bounded by a multiple of
what the copy was expected to take, since a late one is worth nothing, and by
the request's own deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import chain

from protos.hashing import BlockHash
from protos.messages import CopySource, CopyTotals, RequestId
from protos.moves import CopyAsk, CopyChunk, CopyOutcome
from replicas.config import ReplicaConfig
from replicas.engine.block_pool import BlockContent
from replicas.engine.hold import Hold, HoldState
from replicas.engine.plan import BlockId
from replicas.shell.clock import NS_PER_S, now_ns
from replicas.shell.moves.channel import PeerDeclined, PeerLost, Peers
from replicas.shell.moves.checksum import checksum
from replicas.shell.moves.copy_cost import CopyCost
from replicas.shell.moves.copy_failures import CopyFailures
from replicas.shell.moves.home import Home
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.moves.read_ahead import ReadAhead
from replicas.shell.stepper import SteppingEnded

logger = logging.getLogger(__name__)
NS_PER_MS = 1_000_000

# Called with what a copy costs, before the first block and for each, and what became of all.
Tell = Callable[[int, int, CopyTotals], None]


class Misfit(Exception):
    """What came is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A held request, and who has its blocks."""

    hold: Hold
    source: CopySource
    since_ns: int


class Copying:
    """Fetches blocks for requests of `home`. `run` is to be supervised like every other task."""

    def __init__(
        self, home: Home, peers: Peers, limits: MoveLimits, config: ReplicaConfig, tell: Tell
    ) -> None:
        self._home = home
        self._peers = peers
        self._limits = limits
        self._config = config
        self._tell = tell
        self._cost = CopyCost()
        self._failures = CopyFailures(limits)
        self._learned = 0  # times
        self._wishes: asyncio.Queue[Wish] = asyncio.Queue(limits.holds_max)
        self._held = 0  # requests
        self._under_way = 0  # copies
        self._coming: dict[BlockHash, asyncio.Event] = {}  # set when their copy has ended
        self._ended = dict.fromkeys(CopyOutcome, 0)
        self._blocks = 0
        self._held_ns = 0

    @property
    def totals(self) -> CopyTotals:
        """Since the start."""
        ended = ((outcome.value, count) for outcome, count in self._ended.items() if count)
        return CopyTotals(self._blocks, self._held_ns, tuple(sorted(ended)))

    def fetch(self, request_id: RequestId, source: CopySource) -> None:
        """A request has just been submitted: hold it until its blocks are here, if any are not."""
        if source.replica_id == self._home.replica_id or not self._cost.block_ns:
            return
        if self._failures.is_resting:
            return
        hold = self._home.engine.hold(request_id, source.blocks)
        if hold is None:
            return
        if self._held >= self._limits.holds_max:
            hold.let_go()
            self._end(CopyOutcome.BUSY)
            return
        self._held += 1
        self._wishes.put_nowait(Wish(hold, source, now_ns()))

    async def run(self) -> None:
        """Carry out what was wished for, until there are no steps any more."""
        if self._config.copy_bytes_per_s:
            await self._probe()
        async with asyncio.TaskGroup() as copies:
            copies.create_task(self._forget_what_is_old())
            while True:
                copies.create_task(self._carry_out(await self._wishes.get()))

    def learn(self, blocks: int, took_ns: int) -> None:
        """So many blocks came here in this time, for whatever reason."""
        self._learned += 1
        self._cost.learn(blocks, took_ns)
        self._tell_all()

    async def _forget_what_is_old(self) -> None:
        while True:
            learned = self._learned
            await asyncio.sleep(self._limits.copy_memory_ms / 1000)
            if self._learned == learned:
                self._cost.forget()
                self._tell_all()

    async def _probe(self) -> None:
        """Learn how large a block is, and with it what a copy will cost, by assumption."""
        try:
            payloads = await self._home.at_boundary(
                lambda: self._home.executor.read_blocks([BlockId(0)])
            )
        except SteppingEnded:
            return
        self._cost.assume(
            start_ns=self._config.copy_start_ms * NS_PER_MS,
            block_bytes=len(payloads[0]),
            bytes_per_s=self._config.copy_bytes_per_s,
        )
        self._tell_all()

    def _end(self, outcome: CopyOutcome) -> None:
        self._ended[outcome] += 1
        self._tell_all()

    def _tell_all(self) -> None:
        is_off = self._failures.is_resting
        start_ns, block_ns = (0, 0) if is_off else (self._cost.start_ns, self._cost.block_ns)
        self._tell(start_ns, block_ns, self.totals)

    async def _carry_out(self, wish: Wish) -> None:
        """Whatever happens, the request is let go."""
        outcome = CopyOutcome.LEFT
        try:
            outcome = await self._copy_in_time(wish)
        finally:
            wish.hold.let_go()
            self._home.work.set()
            self._held -= 1
            self._held_ns += now_ns() - wish.since_ns
            self._end(outcome)
        await self._rest_after(outcome)

    async def _rest_after(self, outcome: CopyOutcome) -> None:
        """Make no copies for a while, if this was one failure too many."""
        rest_ms = self._failures.begin_rest(outcome)
        if rest_ms is None:
            return
        logger.warning("copies keep failing; none are made for %d ms", rest_ms)
        self._tell_all()
        await asyncio.sleep(rest_ms / 1000)
        self._failures.end_rest()
        self._tell_all()

    async def _copy_in_time(self, wish: Wish) -> CopyOutcome:
        try:
            async with asyncio.timeout(self._patience_ns(wish) / NS_PER_S):
                return await self._copy(wish)
        except TimeoutError:
            return CopyOutcome.LATE
        except PeerDeclined as declined:
            logger.info("no copy from %s: %s", wish.source.replica_id, declined)
            return CopyOutcome.DECLINED
        except PeerLost as lost:
            logger.info("lost a copy from %s: %s", wish.source.replica_id, lost)
            return CopyOutcome.LOST
        except Misfit as misfit:
            logger.warning("what %s sent is no copy: %s", wish.source.replica_id, misfit)
            return CopyOutcome.BROKEN
        except SteppingEnded:
            return CopyOutcome.LEFT

    def _patience_ns(self, wish: Wish) -> int:
        """Whoever is overdue is let go just after that, to be refused."""
        expected_ns = self._cost.expected_ns(wish.source.blocks)
        least_ns = self._limits.copy_ms_min * NS_PER_MS
        patience_ns = max(self._limits.copy_patience * expected_ns, least_ns)
        if wish.hold.deadline_ns is None:
            return patience_ns
        return min(patience_ns, wish.hold.deadline_ns + NS_PER_MS - now_ns())

    async def _copy(self, wish: Wish) -> CopyOutcome:
        """Until all that is wanted is here, or will not come."""
        hold = wish.hold
        while hold.state is HoldState.HELD:
            missing = hold.look()
            if not missing:
                return CopyOutcome.COPIED
            contents = hold.contents(missing.stop)
            names = [content.block_hash for content in contents[missing.start :]]
            before = self._coming.get(names[0])
            if before is not None:
                await before.wait()
                continue
            if self._under_way >= self._limits.copies_in_max:
                return CopyOutcome.BUSY
            # As far as nobody else fetches them: those are looked at again afterwards.
            ours = next((at for at, name in enumerate(names) if name in self._coming), len(names))
            outcome = await self._pull(wish, contents[: missing.start + ours], missing[:ours])
            if outcome is not CopyOutcome.COPIED:
                return outcome
        return CopyOutcome.LEFT

    async def _pull(
        self, wish: Wish, contents: tuple[BlockContent, ...], missing: range
    ) -> CopyOutcome:
        ask = CopyAsk(
            card=self._home.card,
            root=contents[0].parent,
            names=tuple(content.block_hash for content in contents),
            tokens=tuple(chain.from_iterable(content.tokens for content in contents)),
            first=missing.start,
        )
        ended = asyncio.Event()
        self._coming.update(dict.fromkeys(ask.names[missing.start :], ended))
        self._under_way += 1
        began_ns = now_ns()
        arriving = ReadAhead(self._receive(wish.source, ask), self._limits.copy_chunks_max)
        try:
            return await self._write_all(wish.hold, arriving, missing)
        except asyncio.CancelledError:
            self._learned += 1
            self._cost.learn_late(len(missing), now_ns() - began_ns)
            raise
        finally:
            self._under_way -= 1
            for name in ask.names[missing.start :]:
                del self._coming[name]
            ended.set()
            await arriving.close()

    async def _receive(self, source: CopySource, ask: CopyAsk) -> AsyncGenerator[CopyChunk, None]:
        """The chunks as they come, each looked at; how long all took is the price of a copy."""
        began_ns, first = now_ns(), ask.first
        async with aclosing(self._peers.copy(source, ask)) as chunks:
            async for chunk in chunks:
                if chunk.first != first or checksum(chunk.payloads) != chunk.crc32:
                    raise Misfit(f"block {chunk.first} for {first}, or changed on the way")
                first += len(chunk.payloads)
                if first > len(ask.names):
                    raise Misfit("more blocks than were asked for")
                yield chunk
        self.learn(first - ask.first, now_ns() - began_ns)

    async def _write_all(
        self, hold: Hold, arriving: ReadAhead[CopyChunk], missing: range
    ) -> CopyOutcome:
        first = missing.start
        while chunks := await arriving.take():
            payloads = [payload for chunk in chunks for payload in chunk.payloads]
            if not await self._write(hold, first, payloads):
                is_here = hold.state is HoldState.HELD
                return CopyOutcome.NO_ROOM if is_here else CopyOutcome.LEFT
            first += len(payloads)
        return CopyOutcome.COPIED if first == missing.stop else CopyOutcome.PARTLY

    async def _write(self, hold: Hold, first: int, payloads: list[bytes]) -> bool:
        """Put blocks in place between two steps; False where they are not wanted, or no room is."""

        async def write() -> bool:
            if hold.state is not HoldState.HELD:
                return False
            # Somebody may have computed some of them meanwhile.
            missing = hold.look().start
            wanted = payloads[max(0, missing - first) :]
            if not wanted:
                return True
            blocks = hold.take(max(first, missing), len(wanted))
            if blocks is None:
                return False
            try:
                await self._home.executor.write_blocks(blocks, wanted)
                self._blocks += len(wanted)
                return hold.put()
            except ValueError as error:
                raise Misfit(str(error)) from error
            finally:
                hold.settle()

        return await self._home.at_boundary(write)
