"""Two replicas that count, in one loop, and a way between their movers without any transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from protos.messages import (
    BlockEvent,
    CopySource,
    ModelCard,
    ReplicaId,
    Request,
    RequestId,
    SequenceId,
    Snapshot,
)
from protos.moves import (
    CopyAsk,
    CopyChunk,
    MoveId,
    MoveOrder,
    MoveReport,
    Peer,
    ToSource,
    ToTarget,
)
from replicas.engine.engine import Engine
from replicas.shell.link import GatewayLink
from replicas.shell.links import Links
from replicas.shell.moves.channel import PeerLost, SourceEnd, WarmBlock
from replicas.shell.moves.copying import Copying
from replicas.shell.moves.giving import Giving
from replicas.shell.moves.home import Home
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.moves.mover import Mover
from replicas.shell.moves.spreading import Spreading
from replicas.shell.pace import Pace
from replicas.shell.race import race
from replicas.shell.reporter import Reporter
from replicas.shell.stepper import Stepper
from tests.unit.shell.counting import CARD, CONFIG, CountingExecutor, engine
from tests.unit.shell.eventually import eventually

# A block of the counting executor is a chunk, so that a short sequence has many.
LIMITS = MoveLimits(chunk_bytes_max=1, copy_chunk_bytes_max=1, copy_ms_min=60_000)


@dataclass(eq=False)
class Wire:
    """One channel, seen from its source. None is its end."""

    to_target: asyncio.Queue[ToTarget | None] = field(default_factory=asyncio.Queue)
    to_source: asyncio.Queue[ToSource | None] = field(default_factory=asyncio.Queue)
    loses: type[ToSource] | None = None  # on its way to the source

    async def send(self, message: ToTarget) -> None:
        self.to_target.put_nowait(message)

    async def receive(self) -> ToSource:
        message = await self.to_source.get()
        if message is None:
            raise PeerLost("the target has ended the move")
        return message

    async def close(self) -> None:
        self.to_target.put_nowait(None)


@dataclass(eq=False)
class FarEnd:
    """The same, seen from its target."""

    wire: Wire

    async def send(self, message: ToSource) -> None:
        if self.wire.loses is None or not isinstance(message, self.wire.loses):
            self.wire.to_source.put_nowait(message)

    async def receive(self) -> ToTarget:
        message = await self.wire.to_target.get()
        if message is None:
            raise PeerLost("the source has ended the move")
        return message

    async def close(self) -> None:
        self.wire.to_source.put_nowait(None)


class Town:
    """Knows every mover by its replica; `Peers` of all of them."""

    def __init__(self) -> None:
        self.ends: dict[ReplicaId, End] = {}
        self.loses: type[ToSource] | None = None
        self._arrivals: set[asyncio.Task[None]] = set()
        self.copies = 0  # that were asked for
        self.chunks_max: int | None = None  # that get through; then the source is lost
        self.free_chunks = 0  # of each copy, that pass whatever `may_pass` says
        self.may_pass = asyncio.Event()  # chunks on their way
        self.may_pass.set()
        self.change: Callable[[CopyChunk], CopyChunk] = lambda chunk: chunk

    def migrate(self, target: Peer) -> SourceEnd:
        wire = Wire(loses=self.loses)
        task = asyncio.create_task(self._bring(wire, self.ends[target.replica_id]))
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)
        return wire

    async def warm(
        self, peer: Peer, card: ModelCard, blocks_max: int
    ) -> AsyncGenerator[tuple[WarmBlock, ...], None]:
        async for chunk in self.ends[peer.replica_id].spreading.give(card, blocks_max):
            yield chunk

    async def copy(self, source: CopySource, ask: CopyAsk) -> AsyncGenerator[CopyChunk, None]:
        self.copies += 1
        if source.replica_id not in self.ends:
            raise PeerLost("nobody is there")
        passed = 0
        async for chunk in self.ends[source.replica_id].giving.give(ask):
            if passed == self.chunks_max:
                raise PeerLost("it has broken off")
            if passed >= self.free_chunks:
                await self.may_pass.wait()
            yield self.change(chunk)
            passed += 1

    async def _bring(self, wire: Wire, to: End) -> None:
        far = FarEnd(wire)
        try:
            await to.mover.receive(far)
        finally:
            await far.close()


class End:
    """One replica: all that moves touch, and a link of a gateway to it."""

    def __init__(self, name: str, town: Town, limits: MoveLimits) -> None:
        self.peer = Peer(ReplicaId(name), "", 0)
        self.town = town
        self.engine: Engine = engine(blocks_total=1024)
        self.executor = CountingExecutor()
        work, pace = asyncio.Event(), Pace()
        reporter = Reporter(self.engine, self.peer.replica_id, pace)
        self.reporter = reporter
        self.links = Links(self.engine, reporter, work, CONFIG, fetch=self._fetch)
        self.stepper = Stepper(
            self.engine,
            self.executor,
            pace,
            work,
            give_up=self.links.give_up,
            begin=self.links.begin,
            deliver=self.links.deliver,
            publish=_tell_nobody,
            check_interval_ms=0,
        )
        self.home = home = Home(
            self.peer.replica_id,
            CARD,
            self.engine,
            self.executor,
            self.links,
            self.stepper.at_boundary,
            work,
            lambda: 0,
        )
        self.mover = Mover(home, town, limits)
        self._told = 0
        self.spreading = Spreading(home, town, limits)
        self.giving = Giving(home, limits, bytes_per_s=CONFIG.copy_bytes_per_s)
        config = replace(CONFIG, replica_id=self.peer.replica_id)
        self.copying = Copying(home, town, limits, config, reporter.tell_copies)
        self.link: GatewayLink = self.links.attach()
        town.ends[self.peer.replica_id] = self

    @property
    def snapshot(self) -> Snapshot:
        return self.reporter.snapshot()

    @property
    def blocks_used(self) -> int:
        return self.links.news().snapshot.blocks_used

    async def run(self) -> None:
        await race(self.stepper.run(), self.mover.run(), self.copying.run())

    def submit(self, asked: Request) -> None:
        self.links.submit(self.link, asked)

    def _fetch(self, request_id: RequestId, source: CopySource) -> None:
        self.copying.fetch(request_id, source)

    async def sequence(self) -> SequenceId:
        """The one that runs here, once it has blocks."""
        await eventually(lambda: self.blocks_used > 0, "it runs")
        [report] = self.links.sequences(2)
        return report.sequence_id

    def order(self, move_id: str, sequence_id: SequenceId, target: Peer | None) -> None:
        self.mover.order(MoveOrder(MoveId(move_id), sequence_id, target, 20_000))

    async def reports(self, count: int = 1) -> list[MoveReport]:
        """The next ones."""
        told = self._told
        await eventually(lambda: self.mover.ended_count >= told + count, f"{count} reports")
        found = self.mover.reports(told)
        self._told += len(found)
        return list(found)


@asynccontextmanager
async def ends(*names: str, limits: MoveLimits = LIMITS) -> AsyncIterator[list[End]]:
    """Replicas of these names, running as long as the block lasts."""
    town = Town()
    made = [End(name, town, limits) for name in names]
    running = [asyncio.create_task(end.run()) for end in made]
    try:
        yield made
        assert not any(task.done() for task in running), "one of them has failed"
    finally:
        for end in made:
            end.executor.release()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    for end in made:
        end.engine.check()


def _tell_nobody(_events: Iterable[BlockEvent]) -> None:
    """There is no registry here."""
