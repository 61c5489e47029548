"""The leader's Orchestrator with streams attached: events in, commands to their outboxes.

A room leads or follows. Each term begins with a new Orchestrator that knows
nothing but the knobs that were turned, and ends every stream of the term
before: the replicas attach again and tell the next leader what there is.
Without a term nothing is sent, and whoever asks is told who leads, if that is
known.

Everything here is synchronous and runs on one event loop; handlers await only
for `changed`. An outbox is bounded; a command that finds it full is dropped,
since standings are repeated and a move that was never begun ends by its
deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.control.decisions import Decision
from orchestrator.control.events import Command, Event, SendMove, SendStanding, SendWarm, StreamId
from orchestrator.control.orchestrator import Orchestrator, OrchestratorConfig
from orchestrator.control.seams import Clock
from orchestrator.control.tracked import ReplicaStatus
from orchestrator.policy.rebalance_config import RebalanceConfig, set_knobs, turned_knobs
from protos import control_pb2
from protos.convert_moves import move_order_to_proto, peer_to_proto
from protos.logs import fields
from protos.messages import ReplicaId

log = logging.getLogger(__name__)


class NotLeading(Exception):
    """Another control plane leads, or none. `leader` is its address, if known."""

    def __init__(self, leader: str | None) -> None:
        where = f"; the leader is at {leader}" if leader is not None else ", nor known who is"
        super().__init__(f"this control plane is not the leader{where}")
        self.leader = leader


@dataclass(frozen=True, slots=True)
class Attachment:
    """One replica's stream. `ended`: the term is over, and so should the stream be."""

    stream: StreamId
    outbox: asyncio.Queue[control_pb2.ControlCommand]
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class ControlRoom:
    """Owner of the term's Orchestrator and of the outboxes of attached streams."""

    def __init__(
        self, config: OrchestratorConfig, clock: Clock, *, streams_max: int, commands_max: int
    ) -> None:
        self._config = config
        self._clock = clock
        self._streams_max = streams_max
        self._commands_max = commands_max
        self._term = 0
        self._led_ns = 0  # when it began
        self._leading: Orchestrator | None = None
        self._leader: str | None = None  # while another one leads
        self._attachments: dict[StreamId, Attachment] = {}
        self._streams_opened = 0
        self._logged = 0  # the last decision of this term that is in the log
        self._changed = asyncio.Event()

    # ---- who leads

    def lead(self, term: int, knobs: Mapping[str, str]) -> None:
        """Begin a term, knowing nothing but the knobs that an earlier leader kept."""
        self._end_streams()
        self._term = term
        self._logged = 0
        self._led_ns = self._clock.now_ns()
        policy = policy_with(self._config.rebalance, knobs)
        self._leading = Orchestrator(replace(self._config, rebalance=policy), term)
        self._leader = None
        self._wake()

    def follow(self, leader: str | None) -> None:
        """End the term, if one is on. `leader` is the address of whoever leads now."""
        self._end_streams()
        self._leading = None
        self._leader = leader
        self._wake()

    @property
    def orchestrator(self) -> Orchestrator:
        """The leader's brain, to be asked. Raises NotLeading."""
        if self._leading is None:
            raise NotLeading(self._leader)
        return self._leading

    def turned(self) -> tuple[int, dict[str, str]] | None:
        """The term and the knobs to keep for the next leader; None while another one leads."""
        if self._leading is None:
            return None
        return self._term, turned_knobs(self._config.rebalance, self._leading.policy)

    def tenure(self) -> tuple[int, int]:
        """The term, and how long it has lasted in ns. Raises NotLeading."""
        self.require_lead()
        return self._term, self._clock.now_ns() - self._led_ns

    def require_lead(self) -> None:
        """Raises NotLeading."""
        if self._leading is None:
            raise NotLeading(self._leader)

    def now_ns(self) -> int:
        return self._clock.now_ns()

    # ---- streams

    @property
    def is_full(self) -> bool:
        """Whether no further stream may be opened."""
        return len(self._attachments) >= self._streams_max

    def open(self) -> Attachment:
        """Attach a stream. Whoever opens it closes it."""
        assert not self.is_full
        self._streams_opened += 1
        attachment = Attachment(StreamId(self._streams_opened), asyncio.Queue(self._commands_max))
        self._attachments[attachment.stream] = attachment
        return attachment

    def close(self, attachment: Attachment) -> None:
        del self._attachments[attachment.stream]

    def _end_streams(self) -> None:
        for attachment in self._attachments.values():
            attachment.ended.set()

    # ---- ticks

    def apply(self, *events: Event) -> None:
        """One tick: take in the events and post the commands that follow. Nothing out of term."""
        if self._leading is None:
            return
        for command in self._leading.tick(self._clock.now_ns(), events):
            attachment = self._attachments.get(command.stream)
            if attachment is not None and not attachment.outbox.full():
                attachment.outbox.put_nowait(command_to_proto(command, self._term))
        self._log_decisions(self._leading)
        self._wake()

    def _log_decisions(self, leading: Orchestrator) -> None:
        """A line for each new one, with its request where it is about one."""
        for decision in leading.decisions.since(self._logged):
            self._logged = decision.number
            log.info("decided", extra=log_fields(decision))

    async def changed(self) -> None:
        """Until the next tick, or the next leader."""
        await self._changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # ---- questions; each raises NotLeading

    def status(self) -> tuple[ReplicaStatus, ...]:
        return self.orchestrator.status(self._clock.now_ns())

    def replica(self, replica_id: ReplicaId) -> ReplicaStatus | None:
        return self.orchestrator.replica(replica_id, self._clock.now_ns())


def policy_with(config: RebalanceConfig, knobs: Mapping[str, str]) -> RebalanceConfig:
    """The config's with these knobs; as it was, if another version kept what makes no sense."""
    try:
        return set_knobs(config, knobs)
    except ValueError as error:
        log.warning("the knobs that were kept are not those of this version: %s", error)
        return config


def log_fields(decision: Decision) -> dict[str, Any]:
    """What a log line says of a decision."""
    return fields(
        request_id=decision.request_id,
        kind=decision.kind.value,
        reason=decision.reason.value,
        replica=decision.replica_id,
        target=decision.target,
        sequence_id=decision.sequence_id,
        move_id=decision.move_id,
        detail=decision.detail or None,
        **dict(decision.figures),
    )


def command_to_proto(command: Command, term: int) -> control_pb2.ControlCommand:
    """The command with the term of whoever gives it."""
    message = control_pb2.ControlCommand(epoch=command.epoch, term=term)
    match command:
        case SendStanding():
            message.standing = command.standing.value
        case SendMove():
            message.move.CopyFrom(move_order_to_proto(command.order))
        case SendWarm():
            peers = [peer_to_proto(peer) for peer in command.peers]
            message.warm.CopyFrom(control_pb2.WarmOrder(peers=peers))
    return message
