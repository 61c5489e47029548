"""Reports this replica to the control plane and carries its orders to `Orders`.

One stream is one epoch: its first report carries the replica's record, and
when the registry gives a new epoch, or the directory names another leader, the
stream ends and a new one begins. Each stream begins with all ended moves that
are remembered: an end that was lost on the way is told again, and a new leader
learns what moved before its time. Without a control plane nothing is missing
but rebalancing and an operator's verbs; the link looks for one for ever, also
while it waits for a former one that does not answer.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TypeAlias

from grpc import aio

from protos import control_pb2, control_pb2_grpc
from protos.convert import record_to_proto, snapshot_to_proto
from protos.convert_moves import (
    move_order_from_proto,
    move_report_to_proto,
    peer_from_proto,
    sequence_to_proto,
)
from protos.messages import Standing
from protos.registry import ControlDirectory, RegistryUnavailable, ReplicaRecord
from protos.transport import Transport
from replicas.config import ReplicaConfig
from replicas.serving.server import channel_options
from replicas.shell.backoff import Backoff
from replicas.shell.door import Door
from replicas.shell.links import Links
from replicas.shell.orders import Moves, Order, Orders, WarmOrder
from replicas.shell.race import race
from replicas.shell.reporter import Reporter
from replicas.shell.waiting import set_within

logger = logging.getLogger(__name__)
AttachCall: TypeAlias = (
    "aio.StreamStreamCall[control_pb2.ReplicaReport, control_pb2.ControlCommand]"
)

# A standby is found within a second of its taking over: one read of the registry each time.
LOOK_MS = 1000
# The largest sequences are those worth moving; what is emptied reports the others afterwards.
# Those that wait come last, the first of them always.
SEQUENCES_MAX = 256


@dataclass(frozen=True, slots=True)
class Reported:
    """What a replica tells of itself."""

    reporter: Reporter
    door: Door
    links: Links
    moves: Moves


class ControlLink:
    """The replica's end of ControlPlane.Attach."""

    def __init__(
        self,
        directory: ControlDirectory,
        reported: Reported,
        orders: Orders,
        config: ReplicaConfig,
        transport: Transport,
    ) -> None:
        self._transport = transport
        self._directory = directory
        self._reported = reported
        self._orders = orders
        self._report_s = config.report_interval_ms / 1000
        self._backoff = Backoff(min(config.retry_ms_max, LOOK_MS))
        self._report_now = asyncio.Event()

    def report(self) -> None:
        """Report at once, if a control plane listens."""
        self._report_now.set()

    async def run(self, record: ReplicaRecord) -> None:
        """Never returns; the control plane's absence is waited out."""
        while True:
            address = await self._leader_address()
            if address is None:
                self._orders.nobody_leads()
            else:
                await self._attach(address, record)
            await self._backoff.wait()

    async def _leader_address(self) -> str | None:
        try:
            leader = await self._directory.leader()
        except RegistryUnavailable:
            return None
        return leader.address if leader is not None else None

    async def _attach(self, address: str, record: ReplicaRecord) -> None:
        """One stream, until it was lost or another one should follow."""
        try:
            await race(self._converse(address, record), self._follow_directory(address))
        except (aio.AioRpcError, asyncio.InvalidStateError) as error:
            # InvalidStateError: a write met a stream that had just ended.
            logger.info("control plane at %s lost: %s", address, _describe(error))

    async def _converse(self, address: str, record: ReplicaRecord) -> None:
        async with self._transport.channel(address, channel_options()) as channel:
            call: AttachCall = control_pb2_grpc.ControlPlaneStub(channel).Attach()  # type: ignore[no-untyped-call]
            await call.wait_for_connection()
            self._backoff.reset()
            await race(self._obey(call), self._report(call, record))

    async def _report(self, call: AttachCall, record: ReplicaRecord) -> None:
        """At least every interval, until the epoch ends."""
        epoch = self._reported.reporter.epoch
        report = control_pb2.ReplicaReport(record=record_to_proto(record))
        told = 0  # ended moves
        while self._reported.reporter.epoch == epoch:
            self._report_now.clear()
            ended = self._reported.moves.ended_count
            self._fill(report, since=told)
            await call.write(report)
            told = ended
            report = control_pb2.ReplicaReport()
            await set_within(self._report_now, self._report_s)

    def _fill(self, report: control_pb2.ReplicaReport, *, since: int) -> None:
        told = self._reported
        report.snapshot.CopyFrom(snapshot_to_proto(told.reporter.snapshot()))
        report.standing = told.door.standing.value
        report.sequences.extend(map(sequence_to_proto, told.links.sequences(SEQUENCES_MAX)))
        report.moves.extend(map(move_report_to_proto, told.moves.reports(since)))

    async def _obey(self, call: AttachCall) -> None:
        """Until the control plane ends the stream."""
        async for command in call:
            try:
                order = _order_from_proto(command)
            except ValueError as error:
                logger.warning("ignored an order that makes no sense: %s", error)
                continue
            await self._orders.obey(order, epoch=command.epoch, term=command.term)

    async def _follow_directory(self, address: str) -> None:
        """Returns when the directory names another leader's address."""
        while True:
            await asyncio.sleep(LOOK_MS / 1000)
            if await self._leader_address() not in (None, address):
                return


def _order_from_proto(command: control_pb2.ControlCommand) -> Order:
    match command.WhichOneof("command"):
        case "standing":
            return Standing(command.standing)
        case "move":
            return move_order_from_proto(command.move)
        case "warm":
            return WarmOrder(tuple(peer_from_proto(peer) for peer in command.warm.peers))
        case _:
            raise ValueError("a command of an unknown kind")


def _describe(error: Exception) -> str:
    if isinstance(error, aio.AioRpcError):
        return f"{error.code().name} {error.details()}"
    return str(error)
