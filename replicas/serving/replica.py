"""One replica: engine, executor and everything that connects them to the cluster.

The only place where the parts of the shell meet. All of it runs on one event
loop, and the engine is only touched from there; the executor alone computes
elsewhere. Background tasks are supervised: the first one that ends by an
exception makes the replica unhealthy, for good. An unhealthy replica breaks
its links, leaves the registry and says so to whoever asks; it never falls
silent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

from protos.address import host_port
from protos.messages import BlockEvent, ModelCard, Snapshot
from protos.registry import ControlDirectory, RegistryWriter, ReplicaRecord
from replicas.config import ReplicaConfig
from replicas.engine.engine import Engine
from replicas.engine.executor import Executor
from replicas.serving.control_link import ControlLink
from replicas.serving.data_service import DataService
from replicas.serving.server import ReplicaServer
from replicas.shell.block_feed import BlockFeed
from replicas.shell.links import Links
from replicas.shell.membership import MembershipKeeper
from replicas.shell.pace import Pace
from replicas.shell.reporter import Reporter
from replicas.shell.stepper import Stepper

logger = logging.getLogger(__name__)

# For gateways to read what was sent to them, once everything is finished.
FLUSH_S = 2.0


class ReplicaUnhealthy(Exception):
    """The replica cannot be trusted (any more); it should be replaced."""


class Replica:
    """Serves one engine. Built anywhere, started and stopped once, on one event loop."""

    def __init__(
        self,
        config: ReplicaConfig,
        engine: Engine,
        executor: Executor,
        card: ModelCard,
        registry: RegistryWriter | None = None,
        directory: ControlDirectory | None = None,
    ) -> None:
        self._config = config
        self._engine = engine
        self._card = card
        self._work = asyncio.Event()
        self._pace = Pace()
        self._reporter = Reporter(engine, config.replica_id, self._pace)
        self._links = Links(engine, self._reporter, self._work, config)
        self._keeper = self._build_keeper(registry) if registry is not None else None
        self._control = (
            ControlLink(directory, self._reporter, self.drain, config)
            if directory is not None
            else None
        )
        self._stepper = Stepper(
            engine,
            executor,
            self._pace,
            self._work,
            deliver=self._links.deliver,
            publish=self._keeper.announce if self._keeper is not None else _tell_nobody,
            check_interval_ms=config.check_interval_ms,
        )
        self._server: ReplicaServer | None = None
        self._stepping: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: Exception | None = None

    async def start(self) -> str:
        """Listen and serve; the advertised address. Raises CannotListen.

        Neither the registry nor the control plane is waited for.
        """
        assert self._server is None, "a replica starts once"
        config = self._config
        service = DataService(self._links, report_interval_ms=config.report_interval_ms)
        server = ReplicaServer(service)
        port = await server.start(config.host, config.port)
        self._server = server
        address = host_port(config.advertise_host or config.host, port)
        record = ReplicaRecord(config.replica_id, address, self._card, self.snapshot().blocks_total)
        self._stepping = self._supervise("stepping", self._stepper.run())
        self._tasks.append(self._stepping)
        if self._keeper is not None:
            self._tasks.append(self._supervise("membership", self._keeper.run(record)))
        if self._control is not None:
            self._tasks.append(self._supervise("control link", self._control.run(record)))
        logger.info("replica %s serves %s at %s", config.replica_id, self._card.name, address)
        return address

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, finish what runs within the grace, leave, close. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        await self._drain(server)
        await self._finish_work(grace_s)
        await self._end_tasks()
        if self._keeper is not None:
            await self._keeper.leave()
        self._links.finish()
        await server.stop(FLUSH_S)

    async def drain(self) -> None:
        """Take no new work from now on and tell everybody; what runs goes on. Idempotent."""
        if self._server is not None:
            await self._drain(self._server)

    def snapshot(self) -> Snapshot:
        """The replica's state now, numbered like every other report."""
        return self._reporter.snapshot()

    def check_health(self) -> None:
        """Raises ReplicaUnhealthy when stepping has died or hangs."""
        if self._failure is not None:
            raise ReplicaUnhealthy(f"the replica failed: {self._failure!r}") from self._failure
        if self._stepping is None or self._server is None:
            raise ReplicaUnhealthy("the replica is not started, or stopped")
        age_ms = self._pace.age_ns // 1_000_000
        if age_ms > self._config.step_stuck_ms:
            raise ReplicaUnhealthy(f"a step has been running for {age_ms} ms")

    def _build_keeper(self, registry: RegistryWriter) -> MembershipKeeper:
        feed = BlockFeed(
            self._engine.inventory,
            hashes_max=self._config.publish_hashes_max,
            # Stored names are at most one a block; as many removed ones cost
            # as much as saying everything anew.
            pending_max=2 * self.snapshot().blocks_total,
        )
        return MembershipKeeper(registry, feed, self._reporter, self._config)

    async def _drain(self, server: ReplicaServer) -> None:
        if self._engine.draining:
            return
        self._engine.drain()
        self._work.set()
        self._links.report()
        if self._keeper is not None:
            self._keeper.drain()
        if self._control is not None:
            self._control.report()
        await server.refuse_work()

    async def _finish_work(self, grace_s: float) -> None:
        """Until the engine is idle, stepping has died, or the grace is over."""
        assert self._stepping is not None, "a server was started, so was stepping"
        idle = asyncio.create_task(self._stepper.idle())
        waits_for = (idle, self._stepping)
        await asyncio.wait(waits_for, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if not self._engine.is_idle:
            left = self.snapshot()
            logger.warning(
                "stopping with %d running and %d waiting sequences",
                left.sequences_running,
                left.sequences_waiting,
            )

    async def _end_tasks(self) -> None:
        """Stepping ends between two steps where it can, the others where they are."""
        tasks, self._tasks = self._tasks, []
        if self._stepping in tasks:
            self._stepper.stop()
            await asyncio.wait([self._stepping], timeout=FLUSH_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _supervise(self, role: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(self._watch(role, work), name=role)

    async def _watch(self, role: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            logger.exception("%s failed; the replica is unhealthy", role)
            if self._failure is None:
                self._failure = error
                await self._withdraw()

    async def _withdraw(self) -> None:
        """Nothing comes from here any more, and everybody is told."""
        self._links.fail()
        if self._server is not None:
            await self._server.declare_unsound()
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._keeper is not None:
            await self._keeper.leave()


def _tell_nobody(_events: Iterable[BlockEvent]) -> None:
    """Without a registry, block events have no reader."""
