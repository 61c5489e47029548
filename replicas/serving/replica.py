"""One replica: engine, executor and everything that connects them to the cluster.

The only place where the parts of the shell meet. All of it runs on one event
loop, and the engine is only touched from there; the executor alone computes
elsewhere. Background tasks are supervised: the first one that ends by an
exception makes the replica unhealthy, for good. An unhealthy replica breaks
its links, leaves the registry and says so to whoever asks; it never falls
silent.

A replica that stops in order cuts no stream: what the control plane has not
moved elsewhere and what has not finished within the grace is handed back to
its gateways, which resume it on other replicas.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

from protos.address import host_port
from protos.messages import BlockEvent, CopySource, ModelCard, RequestId, Snapshot, Standing
from protos.otlp import Telemetry
from protos.registry import ControlDirectory, RegistryWriter, ReplicaRecord
from protos.transport import Transport
from replicas.config import ReplicaConfig
from replicas.engine.engine import Engine
from replicas.engine.executor import Executor
from replicas.serving.control_link import ControlLink, Reported
from replicas.serving.data_service import DataService
from replicas.serving.peer_client import GrpcPeers
from replicas.serving.peer_service import PeerService
from replicas.serving.server import MESSAGE_BYTES_MAX, ReplicaServer
from replicas.shell.block_feed import BlockFeed
from replicas.shell.door import Door
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
from replicas.shell.reporter import Reporter
from replicas.shell.stepper import Stepper
from replicas.shell.warmup import Warmup

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
        message_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> None:
        """Raises BadCertificates where the configuration names some that are not good."""
        self._config = config
        self._message_bytes_max = message_bytes_max
        self._transport = Transport(config.internal_tls)
        self._engine = engine
        self._card = card
        self._work = asyncio.Event()
        self._pace = Pace()
        self._reporter = Reporter(engine, config.replica_id, self._pace)
        self._telemetry = Telemetry("replica", config.replica_id)
        export = self._telemetry.tracing.export
        self._links = Links(engine, self._reporter, self._work, config, export, self._fetch)
        self._keeper = self._build_keeper(registry) if registry is not None else None
        self._stepper = Stepper(
            engine,
            executor,
            self._pace,
            self._work,
            give_up=self._links.give_up,
            begin=self._links.begin,
            deliver=self._links.deliver,
            publish=self._keeper.announce if self._keeper is not None else _tell_nobody,
            check_interval_ms=config.check_interval_ms,
        )
        waits_for_warmth = config.warm_ms > 0 and directory is not None
        self._door = Door(engine, self._work, self._tell_all, is_warm=not waits_for_warmth)
        home, limits = self._build_home(executor), MoveLimits()
        peers = GrpcPeers(self._transport, message_bytes_max)
        self._mover = Mover(home, peers, limits)
        self._giving = Giving(home, limits, bytes_per_s=config.copy_bytes_per_s)
        self._copying = Copying(home, peers, limits, config, self._reporter.tell_copies)
        self._spreading = Spreading(home, peers, limits, self._copying.learn)
        self._warmup = Warmup(self._door, self._spreading.pull, warm_ms=config.warm_ms)
        self._control = self._build_control(directory) if directory is not None else None
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
        peer_service = PeerService(self._mover, self._spreading, self._giving)
        server = ReplicaServer(service, peer_service, self._transport, self._message_bytes_max)
        port = await server.start(config.host, config.port, config.health_port)
        self._server = server
        await self._tell_all()
        address = host_port(config.advertise_host or config.host, config.advertise_port or port)
        record = ReplicaRecord(config.replica_id, address, self._card, self.snapshot().blocks_total)
        self._start_tasks(record)
        logger.info("replica %s serves %s at %s", config.replica_id, self._card.name, address)
        return address

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, let what runs finish or move within the grace, leave. Idempotent.

        What is left then is handed back, so no stream is cut.
        """
        server, self._server = self._server, None
        if server is None:
            return
        await self._door.leave_for_good()
        await server.tell_serving(False)
        await self._finish_work(grace_s)
        await self._end_tasks()
        if self._keeper is not None:
            await self._keeper.leave()
        self._links.finish()
        await server.stop(FLUSH_S)
        await self._telemetry.close()

    async def stand(self, standing: Standing) -> None:
        """Take new work or none from now on, and tell everybody; what runs goes on. Idempotent."""
        await self._door.stand(standing)

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

    def _fetch(self, request_id: RequestId, source: CopySource) -> None:
        self._copying.fetch(request_id, source)

    def _build_home(self, executor: Executor) -> Home:
        return Home(
            replica_id=self._config.replica_id,
            card=self._card,
            engine=self._engine,
            executor=executor,
            links=self._links,
            at_boundary=self._stepper.at_boundary,
            work=self._work,
            epoch=lambda: self._reporter.epoch,
        )

    def _build_control(self, directory: ControlDirectory) -> ControlLink:
        orders = Orders(self._door, self._mover, self._warmup, epoch=lambda: self._reporter.epoch)
        reported = Reported(self._reporter, self._door, self._links, self._mover)
        return ControlLink(directory, reported, orders, self._config, self._transport)

    def _start_tasks(self, record: ReplicaRecord) -> None:
        self._stepping = self._supervise("stepping", self._stepper.run())
        self._tasks.append(self._stepping)
        self._tasks.append(self._supervise("moves", self._mover.run()))
        self._tasks.append(self._supervise("copies", self._copying.run()))
        if not self._door.is_open:
            self._tasks.append(self._supervise("warming", self._warmup.run()))
        if self._keeper is not None:
            self._tasks.append(self._supervise("membership", self._keeper.run(record)))
        if self._control is not None:
            self._tasks.append(self._supervise("control link", self._control.run(record)))

    async def _tell_all(self) -> None:
        """Whether the door is open has changed, or the standing."""
        is_open = self._door.is_open
        self._links.report()
        if self._keeper is not None:
            self._keeper.tell_draining(not is_open)
        if self._control is not None:
            self._control.report()
        if self._server is not None:
            await self._server.tell_serving(is_open)

    async def _finish_work(self, grace_s: float) -> None:
        """Until the engine is idle, stepping has died, or the grace is over."""
        assert self._stepping is not None, "a server was started, so was stepping"
        idle = asyncio.create_task(self._stepper.idle())
        waits_for = (idle, self._stepping)
        await asyncio.wait(waits_for, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if self._failure is None and not self._engine.is_idle:
            logger.warning("stopping: handed %d sequences back", self._links.hand_back())

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
        self._giving.close()
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
