"""One simulated replica: what the live one runs, without its transport.

Engine, links, parking, stepping, membership and reports are production code
(replicas.shell) on the loop of virtual time. Simulated are the executor under
them and the connections above them. A `SimReplica` is one life of a process:
run once, and killed without a word or stopped in order.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from orchestrator.sim.link import DataExchange
from orchestrator.sim.network import End
from orchestrator.sim.wire import Adopt, Cancel, GatewayMessage, Submit
from protos.messages import Delta, Snapshot, StepEvents
from protos.registry import RegistryWriter, ReplicaRecord
from replicas.config import ReplicaConfig
from replicas.engine.engine import Engine
from replicas.engine.executor import Executor
from replicas.shell.block_feed import BlockFeed
from replicas.shell.link import GatewayLink, LinkBroken
from replicas.shell.links import Links
from replicas.shell.membership import MembershipKeeper
from replicas.shell.pace import Pace
from replicas.shell.race import race
from replicas.shell.reporter import Reporter
from replicas.shell.stepper import Stepper

GatewayEnd = End[GatewayMessage, StepEvents | None]


class Watcher(Protocol):
    """Looks at an engine after each of its steps."""

    def after_step(self, engine: Engine) -> None: ...


class SimReplica:
    """Engine, shell and registry under one name. `run` once."""

    def __init__(
        self,
        config: ReplicaConfig,
        record: ReplicaRecord,
        engine: Engine,
        executor: Executor,
        registry: RegistryWriter,
        watcher: Watcher,
    ) -> None:
        self.record = record
        self.engine = engine
        self._config = config
        self._watcher = watcher
        self._work = asyncio.Event()
        pace = Pace()
        self._reporter = Reporter(engine, record.replica_id, pace)
        self._links = Links(engine, self._reporter, self._work, config)
        feed = BlockFeed(
            engine.inventory,
            hashes_max=config.publish_hashes_max,
            pending_max=2 * record.blocks_total,
        )
        self._keeper = MembershipKeeper(registry, feed, self._reporter, config)
        self._stepper = Stepper(
            engine,
            executor,
            pace,
            self._work,
            deliver=self._deliver,
            publish=self._keeper.announce,
            check_interval_ms=config.check_interval_ms,
        )
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, exchange: DataExchange) -> None:
        """Join the registry and serve until cancelled. A failed assertion ends it."""
        address = self.record.address
        try:
            async with asyncio.TaskGroup() as self._tasks:
                exchange.answer(address, self.record.replica_id, self._accept)
                self._tasks.create_task(self._keeper.run(self.record))
                self._tasks.create_task(self._stepper.run())
        finally:
            exchange.hang_up(address)

    def snapshot(self) -> Snapshot:
        """The replica's state now, numbered."""
        return self._reporter.snapshot()

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


async def set_by(event: asyncio.Event) -> None:
    await event.wait()
