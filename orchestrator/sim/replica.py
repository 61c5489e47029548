"""One simulated replica: what the live one runs, without its transport.

Engine, links, parking, stepping, moves, membership and reports are production
code (replicas.shell) on the loop of virtual time. Simulated are the executor
under them and the connections above them. A `SimReplica` is one life of a
process: run once, and killed without a word or stopped in order.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from orchestrator.gateway.wire import Adopt, Cancel, GatewayMessage, Submit
from orchestrator.sim.control_link import ControlExchange, Reported, SimControlLink
from orchestrator.sim.link import DataExchange
from orchestrator.sim.network import End
from orchestrator.sim.peers import (
    Channel,
    CopyExchange,
    CopyNews,
    PeerExchange,
    SimPeers,
    give,
)
from orchestrator.sim.wires import Wires
from protos.messages import CopySource, Delta, RequestId, Snapshot, Standing, StepEvents
from protos.moves import CopyAsk, ToSource, ToTarget
from protos.registry import PrefixRegistry, ReplicaRecord
from replicas.config import ReplicaConfig
from replicas.engine.engine import Engine
from replicas.engine.executor import Executor
from replicas.shell.block_feed import BlockFeed
from replicas.shell.door import Door
from replicas.shell.link import GatewayLink, LinkBroken
from replicas.shell.links import Links
from replicas.shell.membership import MembershipKeeper
from replicas.shell.moves.copying import Copying
from replicas.shell.moves.giving import Giving
from replicas.shell.moves.home import Home
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.moves.mover import Mover
from replicas.shell.moves.spreading import Spreading
from replicas.shell.orders import Orders
from replicas.shell.pace import Pace
from replicas.shell.race import race
from replicas.shell.reporter import Reporter
from replicas.shell.stepper import Stepper
from replicas.shell.warmup import Warmup

GatewayEnd = End[GatewayMessage, StepEvents | None]
PeerEnd = End[ToTarget | None, ToSource | None]
CopyGiverEnd = End[CopyAsk, CopyNews]
FLUSH_S = 2.0
LAST_WORDS_S = 0.05  # until what was said before the end has arrived


class Watcher(Protocol):
    """Looks at an engine after each of its steps."""

    def after_step(self, engine: Engine) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a replica reaches, and who reaches it."""

    registry: PrefixRegistry
    data: DataExchange
    peers: PeerExchange
    control: ControlExchange
    spreading: dict[str, Spreading]
    copies: CopyExchange
    wires: Wires


class SimReplica:
    """Engine, shell and registry under one name. `run` once."""

    def __init__(
        self,
        config: ReplicaConfig,
        record: ReplicaRecord,
        engine: Engine,
        executor: Executor,
        work: asyncio.Event,
        around: Surroundings,
        watcher: Watcher,
    ) -> None:
        self.record = record
        self.engine = engine
        self._config = config
        self._around = around
        self._watcher = watcher
        self._work = work
        pace = Pace()
        self._reporter = Reporter(engine, record.replica_id, pace)
        self._links = Links(engine, self._reporter, self._work, config, fetch=self._fetch)
        self._keeper = self._build_keeper()
        self._stepper = Stepper(
            engine,
            executor,
            pace,
            self._work,
            give_up=self._links.give_up,
            begin=self._links.begin,
            deliver=self._deliver,
            publish=self._keeper.announce,
            check_interval_ms=config.check_interval_ms,
        )
        self._door = Door(engine, self._work, self._tell_all, is_warm=not config.warm_ms)
        self._build_moves(executor)
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Join the registry and serve until stopped or cancelled. A failed assertion ends it."""
        around, address, node = self._around, self.record.address, self.record.replica_id
        try:
            async with asyncio.TaskGroup() as self._tasks:
                around.data.answer(address, node, self._accept)
                around.peers.answer(address, node, self._accept_peer)
                around.copies.answer(address, node, self._accept_copy)
                around.spreading[address] = self._spreading
                self._serving = [
                    self._tasks.create_task(work)
                    for work in (
                        self._keeper.run(self.record),
                        self._mover.run(),
                        self._copying.run(),
                        self._control.run(self.record),
                    )
                ]
                if not self._door.is_open:
                    self._serving.append(self._tasks.create_task(self._warmup.run()))
                self._stepping = self._tasks.create_task(self._stepper.run())
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        """Nobody reaches it any more. Idempotent."""
        around, address = self._around, self.record.address
        around.data.hang_up(address)
        around.peers.hang_up(address)
        around.copies.hang_up(address)
        around.spreading.pop(address, None)

    async def stop(self, grace_s: float) -> None:
        """As the live one: take nothing new, hand back what is left after the grace, leave."""
        await self._door.leave_for_good()
        idle = asyncio.create_task(self._stepper.idle())
        await asyncio.wait([idle], timeout=grace_s)
        idle.cancel()
        if not self.engine.is_idle:
            self._links.hand_back()
        self._stepper.stop()
        await asyncio.wait([self._stepping], timeout=FLUSH_S)
        self.hang_up()
        for task in (*self._serving, self._stepping):
            task.cancel()
        await asyncio.gather(*self._serving, self._stepping, return_exceptions=True)
        await self._keeper.leave()
        self._links.finish()
        await asyncio.sleep(LAST_WORDS_S)

    @property
    def mover(self) -> Mover:
        return self._mover

    @property
    def parked(self) -> int:
        """Choices that wait for a gateway."""
        return self._links.parked

    @property
    def reported(self) -> Reported:
        return self._reported

    def snapshot(self) -> Snapshot:
        """The replica's state now, numbered."""
        return self._reporter.snapshot()

    async def stand(self, standing: Standing) -> None:
        await self._door.stand(standing)

    # ---- the parts

    def _build_keeper(self) -> MembershipKeeper:
        feed = BlockFeed(
            self.engine.inventory,
            hashes_max=self._config.publish_hashes_max,
            pending_max=2 * self.record.blocks_total,
        )
        return MembershipKeeper(self._around.registry, feed, self._reporter, self._config)

    def _build_moves(self, executor: Executor) -> None:
        around, node = self._around, self.record.replica_id
        home = Home(
            node,
            self.record.card,
            self.engine,
            executor,
            self._links,
            self._stepper.at_boundary,
            self._work,
            lambda: self._reporter.epoch,
        )
        peers = SimPeers(node, around.peers, around.spreading, around.copies, around.wires)
        self._mover = Mover(home, peers, MoveLimits())
        bytes_per_s = self._config.copy_bytes_per_s
        self._giving = Giving(home, MoveLimits(), bytes_per_s=bytes_per_s)
        tell = self._reporter.tell_copies
        self._copying = Copying(home, peers, MoveLimits(), self._config, tell)
        self._spreading = Spreading(home, peers, MoveLimits(), self._copying.learn)
        self._warmup = Warmup(self._door, self._spreading.pull, warm_ms=self._config.warm_ms)
        orders = Orders(self._door, self._mover, self._warmup, epoch=lambda: self._reporter.epoch)
        self._reported = Reported(self._reporter, self._door, self._links, self._mover)
        self._control = SimControlLink(
            node,
            around.registry,
            around.control,
            self._reported,
            orders,
            report_s=self._config.report_interval_ms / 1000,
        )

    async def _tell_all(self) -> None:
        self._links.report()
        self._keeper.tell_draining(not self._door.is_open)
        self._control.report()

    # ---- gateways

    def _accept(self, end: GatewayEnd) -> None:
        assert self._tasks is not None, "it answers while it runs"
        self._tasks.create_task(self._attend(end))

    async def _attend(self, end: GatewayEnd) -> None:
        """One gateway's link, as long as its connection and the link itself are whole."""
        link = self._links.attach()
        lost = asyncio.Event()
        end.listen(lambda message: self._hear(link, message), lost.set)
        is_broken = False
        try:
            await race(link.broken(), self._tell(link, end), set_by(lost))
        except LinkBroken:
            is_broken = True
            end.close()
        finally:
            self._links.detach(link, park=not is_broken)

    def _hear(self, link: GatewayLink, message: GatewayMessage) -> None:
        match message:
            case Submit(request):
                self._links.submit(link, request)
            case Adopt(claim):
                self._links.adopt(link, claim)
            case Cancel(request_id, choice):
                self._links.cancel(link, request_id, choice)

    async def _tell(self, link: GatewayLink, end: GatewayEnd) -> None:
        """Send what there is to say. Returns when the link was finished."""
        reporting = asyncio.create_task(self._report(end))
        try:
            while (events := await link.get()) is not None:
                end.send(events)
            end.send(None)
        finally:
            reporting.cancel()

    async def _report(self, end: GatewayEnd) -> None:
        """Break a silence of more than half a report interval."""
        pause_s = self._config.report_interval_ms / 1000 / 2
        while True:
            sent = end.sent
            await asyncio.sleep(pause_s)
            if end.sent == sent:
                end.send(self._links.news())

    def _deliver(self, deltas: tuple[Delta, ...]) -> None:
        self._links.deliver(deltas)
        self._watcher.after_step(self.engine)

    # ---- other replicas

    def _fetch(self, request_id: RequestId, source: CopySource) -> None:
        self._copying.fetch(request_id, source)

    def _accept_copy(self, end: CopyGiverEnd) -> None:
        assert self._tasks is not None, "it answers while it runs"
        tasks, lost = self._tasks, asyncio.Event()

        def begin(ask: CopyAsk) -> None:
            tasks.create_task(race(give(self._giving, ask, end), set_by(lost)))

        end.listen(begin, lost.set)

    def _accept_peer(self, end: PeerEnd) -> None:
        assert self._tasks is not None, "it answers while it runs"
        self._tasks.create_task(self._receive(end))

    async def _receive(self, end: PeerEnd) -> None:
        channel = Channel[ToSource, ToTarget](end, block_ns=0)
        try:
            await self._mover.receive(channel)
        finally:
            await channel.close()


async def set_by(event: asyncio.Event) -> None:
    await event.wait()
