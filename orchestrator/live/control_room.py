"""The Orchestrator with streams attached: events in, commands to their outboxes.

Everything here is synchronous and runs on one event loop; handlers await only
for `changed`. An outbox is bounded; a command that finds it full is dropped,
since the Orchestrator repeats what shows no effect.
"""

from __future__ import annotations

import asyncio

from orchestrator.control.orchestrator import Event, Orchestrator, ReplicaStatus, StreamId
from orchestrator.control.seams import Clock
from protos import control_pb2
from protos.messages import ReplicaId

Outbox = asyncio.Queue[control_pb2.ControlCommand]


class ControlRoom:
    """Owner of the Orchestrator and of the outboxes of attached streams."""

    def __init__(
        self, orchestrator: Orchestrator, clock: Clock, *, streams_max: int, commands_max: int
    ) -> None:
        self._orchestrator = orchestrator
        self._clock = clock
        self._streams_max = streams_max
        self._commands_max = commands_max
        self._outboxes: dict[StreamId, Outbox] = {}
        self._streams_opened = 0
        self._changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether no further stream may be opened."""
        return len(self._outboxes) >= self._streams_max

    def open(self) -> tuple[StreamId, Outbox]:
        """Attach a stream. Whoever opens it closes it."""
        assert not self.is_full
        self._streams_opened += 1
        stream = StreamId(self._streams_opened)
        outbox = self._outboxes[stream] = asyncio.Queue(self._commands_max)
        return stream, outbox

    def close(self, stream: StreamId) -> None:
        del self._outboxes[stream]

    def apply(self, *events: Event) -> None:
        """One tick: take in the events and post the commands that follow."""
        for command in self._orchestrator.tick(self._clock.now_ns(), events):
            outbox = self._outboxes.get(command.stream)
            if outbox is not None and not outbox.full():
                outbox.put_nowait(
                    control_pb2.ControlCommand(
                        epoch=command.epoch, drain=control_pb2.DrainCommand()
                    )
                )
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Until the next tick."""
        await self._changed.wait()

    def status(self) -> tuple[ReplicaStatus, ...]:
        return self._orchestrator.status()

    def replica(self, replica_id: ReplicaId) -> ReplicaStatus | None:
        return self._orchestrator.replica(replica_id)
