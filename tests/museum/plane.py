"""The real control plane's brain over replicas that count: reports in, orders out, no network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from orchestrator.control.events import (
    Command,
    Event,
    ReplicaAttached,
    Report,
    ReportReceived,
    SendMove,
    SendStanding,
    StandingRequested,
    StreamId,
)
from orchestrator.control.orchestrator import Orchestrator, OrchestratorConfig
from protos.messages import ReplicaId, Standing
from protos.registry import ReplicaRecord
from replicas.shell.clock import now_ns
from tests.unit.moves.pair import End
from tests.unit.shell.counting import CARD

SEQUENCES_MAX = 256
TURN_S = 0.002
TURNS_MAX = 10_000


class Plane:
    """One leader."""

    def __init__(self, ends: Sequence[End]) -> None:
        self._orchestrator = Orchestrator(OrchestratorConfig(), term=1)
        self._ends = {end.peer.replica_id: end for end in ends}
        self._standings = dict.fromkeys(self._ends, Standing.OPEN)
        self._streams = {name: StreamId(n) for n, name in enumerate(self._ends)}
        self._tick(
            *(
                ReplicaAttached(
                    self._streams[name],
                    ReplicaRecord(name, end.peer.address, CARD, blocks_total=1024),
                    self._report(name),
                )
                for name, end in self._ends.items()
            )
        )

    def drain(self, replica_id: ReplicaId) -> None:
        self._tick(StandingRequested(replica_id, Standing.LEAVING))

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Turn report by report until the condition holds."""
        for _ in range(TURNS_MAX):
            if condition():
                return
            reports = (
                ReportReceived(stream, self._report(name)) for name, stream in self._streams.items()
            )
            self._tick(*reports)
            await asyncio.sleep(TURN_S)
        raise AssertionError(f"it never comes: {what}")

    def _report(self, name: ReplicaId) -> Report:
        end = self._ends[name]
        return Report(
            end.links.news().snapshot,
            self._standings[name],
            end.links.sequences(SEQUENCES_MAX),
            end.mover.reports(0),
        )

    def _tick(self, *events: Event) -> None:
        for command in self._orchestrator.tick(now_ns(), events):
            self._obey(command)

    def _obey(self, command: Command) -> None:
        end = self._ends[command.replica_id]
        match command:
            case SendStanding(standing=standing):
                assert standing is Standing.LEAVING
                self._standings[command.replica_id] = standing
                end.engine.drain()
            case SendMove(order=order):
                end.mover.order(order)
