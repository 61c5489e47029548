"""One end of a measured move: all of a replica that a move needs, and no more.

Engine, runner thread, stepper, links and mover are a replica's own, and moves
arrive by gRPC over loopback. The gateway is in this process: it learns of a
token as soon as its step has been applied.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from grpc import aio

from protos import control_pb2_grpc
from protos.messages import BlockEvent, ReplicaId
from protos.moves import MoveOrder, MoveReport, Peer
from protos.transport import Transport
from replicas.config import ReplicaConfig
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.model.loading import LoadedModel
from replicas.model.runner import TorchRunner
from replicas.serving.executor import ThreadExecutor
from replicas.serving.peer_client import GrpcPeers
from replicas.serving.peer_service import PeerService
from replicas.serving.server import server_options
from replicas.shell.links import Links
from replicas.shell.moves.giving import Giving
from replicas.shell.moves.home import Home
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.moves.mover import Mover
from replicas.shell.moves.spreading import Spreading
from replicas.shell.pace import Pace
from replicas.shell.race import race
from replicas.shell.reporter import Reporter
from replicas.shell.stepper import Stepper

BLOCK_SIZE = 16
LOOPBACK = "127.0.0.1"
POLL_S = 0.005


class MigrateEnd:
    """A source or a target. Serves inside `serving`."""

    def __init__(self, name: str, model: LoadedModel, *, blocks_total: int) -> None:
        card = model.card(BLOCK_SIZE)
        engine = Engine(EngineConfig(card=card, blocks_total=blocks_total))
        executor = ThreadExecutor(
            TorchRunner(model, blocks_total=blocks_total, block_size=BLOCK_SIZE)
        )
        work, pace = asyncio.Event(), Pace()
        config = ReplicaConfig(ReplicaId(name))
        reporter = Reporter(engine, config.replica_id, pace)
        self.links = Links(engine, reporter, work, config)
        self._stepper = Stepper(
            engine,
            executor,
            pace,
            work,
            give_up=self.links.give_up,
            begin=self.links.begin,
            deliver=self.links.deliver,
            publish=_tell_nobody,
            check_interval_ms=config.check_interval_ms,
        )
        home = Home(
            config.replica_id,
            card,
            engine,
            executor,
            self.links,
            self._stepper.at_boundary,
            work,
            lambda: reporter.epoch,
        )
        limits, peers = MoveLimits(), GrpcPeers(Transport())
        self._mover = Mover(home, peers, limits)
        self._service = PeerService(
            self._mover,
            Spreading(home, peers, limits),
            Giving(home, limits, bytes_per_s=config.copy_bytes_per_s),
        )
        self.peer = Peer(config.replica_id, "", reporter.epoch)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[MigrateEnd]:
        """Step, carry out orders and take in moves, until the block is left."""
        server = aio.server(options=server_options())
        control_pb2_grpc.add_ReplicaPeerServicer_to_server(  # type: ignore[no-untyped-call]
            self._service, server
        )
        port = server.add_insecure_port(f"{LOOPBACK}:0")
        self.peer = Peer(self.peer.replica_id, f"{LOOPBACK}:{port}", self.peer.epoch)
        await server.start()
        running = asyncio.create_task(race(self._stepper.run(), self._mover.run()))
        try:
            yield self
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.stop(0)

    async def move(self, order: MoveOrder) -> MoveReport:
        """Carry the order out; how it ended."""
        ended = self._mover.ended_count
        self._mover.order(order)
        while True:
            for report in self._mover.reports(ended):
                return report
            await asyncio.sleep(POLL_S)


def _tell_nobody(_events: Iterable[BlockEvent]) -> None:
    """There is no registry here."""
