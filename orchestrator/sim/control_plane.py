"""One candidate for the lead of the simulated control plane, over the production Orchestrator.

It contends for the lead by a lease in the registry, and holds it no longer
than one lease after it last asked; a new term begins with an Orchestrator that
knows nothing, and ends every stream. A careless leader repeats itself: by a
given chance an order goes out twice, and a report is taken in twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random

from orchestrator.control.events import (
    Command,
    Event,
    ReplicaAttached,
    ReplicaDetached,
    Report,
    ReportReceived,
    SendMove,
    SendStanding,
    SendWarm,
    StreamId,
)
from orchestrator.control.orchestrator import Orchestrator, OrchestratorConfig
from orchestrator.control.seams import Clock
from orchestrator.sim.control_link import Attach, ControlExchange, Told
from orchestrator.sim.network import End
from protos.messages import ReplicaId
from protos.registry import ControlDirectory, RegistryUnavailable
from replicas.shell.orders import Order, WarmOrder

LEASE_S = 3.0
RENEW_S = 1.0
TICK_S = 0.25

ReplicaEnd = End[Attach | Report, Told]


class SimControlPlane:
    """One life of one control-plane process, which is its address. `run` once."""

    def __init__(
        self,
        node: str,
        address: str,
        directory: ControlDirectory,
        exchange: ControlExchange,
        clock: Clock,
        config: OrchestratorConfig,
        *,
        random: Random,
        repeats: float,
    ) -> None:
        self._node = node
        self._address = address
        self._directory = directory
        self._exchange = exchange
        self._clock = clock
        self._config = config
        self._random = random
        self._repeats = repeats
        self._term = 0
        self._leading: Orchestrator | None = None
        self._lead_ends = 0.0
        self._ends: dict[StreamId, ReplicaEnd] = {}
        self._streams_opened = 0

    @property
    def orchestrator(self) -> Orchestrator | None:
        """The brain, while this one leads."""
        return self._leading

    async def run(self) -> None:
        """Contend, and tick while it leads, until cancelled."""
        self._exchange.answer(self._address, self._node, self._accept)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._contend_forever())
                tasks.create_task(self._tick_forever())
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        """Nobody reaches it any more. Idempotent."""
        self._exchange.hang_up(self._address)

    def apply(self, *events: Event) -> None:
        """One tick. Nothing happens while another one leads."""
        if self._leading is not None:
            for command in self._leading.tick(self._clock.now_ns(), events):
                self._send(command)

    async def _contend_forever(self) -> None:
        while True:
            asked = self._now()
            try:
                term = await self._directory.lead(self._address, self._address)
            except RegistryUnavailable:
                pass
            else:
                self._learn(term, asked)
            await asyncio.sleep(RENEW_S)

    def _learn(self, term: int | None, asked: float) -> None:
        if term is None:
            self._stand_down()
        elif self._now() < asked + LEASE_S:
            self._lead_ends = asked + LEASE_S
            if self._leading is None or term != self._term:
                self._end_streams()
                self._term = term
                self._leading = Orchestrator(self._config, term)

    async def _tick_forever(self) -> None:
        while True:
            if self._leading is not None and self._now() >= self._lead_ends:
                self._stand_down()
            self.apply()
            await asyncio.sleep(TICK_S)

    def _stand_down(self) -> None:
        self._leading = None
        self._end_streams()

    def _end_streams(self) -> None:
        ends, self._ends = self._ends, {}
        for end in ends.values():
            end.close()

    # ---- replicas

    def _accept(self, end: ReplicaEnd) -> None:
        self._streams_opened += 1
        stream = StreamId(self._streams_opened)
        if self._leading is None:
            end.close()
            return
        attached: list[ReplicaId] = []
        self._ends[stream] = end

        def take(message: Attach | Report) -> None:
            match message:
                case Attach(record, report):
                    attached.append(record.replica_id)
                    self.apply(ReplicaAttached(stream, record, report))
                case Report() as report:
                    for _ in self._times():
                        self.apply(ReportReceived(stream, report))

        def lost() -> None:
            self._ends.pop(stream, None)
            if attached:
                self.apply(ReplicaDetached(stream, attached[0]))

        end.listen(take, lost)

    def _send(self, command: Command) -> None:
        end = self._ends.get(command.stream)
        if end is not None:
            for _ in self._times():
                end.send(Told(order_of(command), command.epoch, self._term))

    def _times(self) -> Iterable[int]:
        return range(1 + (self._random.random() < self._repeats))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def order_of(command: Command) -> Order:
    match command:
        case SendStanding(standing=standing):
            return standing
        case SendMove(order=order):
            return order
        case SendWarm(peers=peers):
            return WarmOrder(peers)
