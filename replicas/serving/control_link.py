"""Reports this replica to the control plane and carries out its commands.

One stream is one epoch: its first report carries the replica's record, and
when the registry gives a new epoch, or the directory names another control
plane, the stream ends and a new one begins. Without a control plane nothing
is missing but rebalancing and an operator's verbs; the link looks for one at
capped intervals for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from grpc import aio

from protos import control_pb2, control_pb2_grpc
from protos.convert import record_to_proto, snapshot_to_proto
from protos.registry import ControlDirectory, RegistryUnavailable, ReplicaRecord
from replicas.config import ReplicaConfig
from replicas.serving.server import CHANNEL_OPTIONS
from replicas.shell.backoff import Backoff
from replicas.shell.race import race
from replicas.shell.reporter import Reporter
from replicas.shell.waiting import set_within

logger = logging.getLogger(__name__)
AttachCall: TypeAlias = (
    "aio.StreamStreamCall[control_pb2.ReplicaReport, control_pb2.ControlCommand]"
)

# A directory lookup is one read of the registry; a former leader may live on unannounced.
DIRECTORY_CHECK_S = 5.0


class ControlLink:
    """The replica's end of ControlPlane.Attach."""

    def __init__(
        self,
        directory: ControlDirectory,
        reporter: Reporter,
        drain: Callable[[], Awaitable[None]],
        config: ReplicaConfig,
    ) -> None:
        self._directory = directory
        self._reporter = reporter
        self._drain = drain
        self._report_s = config.report_interval_ms / 1000
        self._backoff = Backoff(config.retry_ms_max)
        self._report_now = asyncio.Event()

    def report(self) -> None:
        """Send a snapshot at once, if a control plane listens."""
        self._report_now.set()

    async def run(self, record: ReplicaRecord) -> None:
        """Never returns; the control plane's absence is waited out."""
        while True:
            address = await self._address()
            if address is not None:
                try:
                    await self._attach(address, record)
                except (aio.AioRpcError, asyncio.InvalidStateError) as error:
                    # InvalidStateError: a write met a stream that had just ended.
                    logger.info("control plane at %s lost: %s", address, _describe(error))
            await self._backoff.wait()

    async def _address(self) -> str | None:
        try:
            return await self._directory.control_address()
        except RegistryUnavailable:
            return None

    async def _attach(self, address: str, record: ReplicaRecord) -> None:
        """One stream. Returns when another one should follow, raises when it was lost."""
        async with aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            call: AttachCall = control_pb2_grpc.ControlPlaneStub(channel).Attach()  # type: ignore[no-untyped-call]
            await call.wait_for_connection()
            self._backoff.reset()
            epoch = self._reporter.epoch
            await race(
                self._obey(call, epoch),
                self._report(call, epoch, record),
                self._follow_directory(address),
            )

    async def _report(self, call: AttachCall, epoch: int, record: ReplicaRecord) -> None:
        """Snapshots at least every interval, until the epoch ends."""
        report = control_pb2.ReplicaReport(record=record_to_proto(record))
        while self._reporter.epoch == epoch:
            self._report_now.clear()
            report.snapshot.CopyFrom(snapshot_to_proto(self._reporter.snapshot()))
            await call.write(report)
            report = control_pb2.ReplicaReport()
            await set_within(self._report_now, self._report_s)

    async def _obey(self, call: AttachCall, epoch: int) -> None:
        """Carry out commands of this epoch until the control plane ends the stream."""
        async for command in call:
            if command.epoch != epoch:
                logger.warning("ignored a command for epoch %d in %d", command.epoch, epoch)
                continue
            match command.WhichOneof("command"):
                case "drain":
                    await self._drain()
                case unknown:
                    logger.warning("ignored an unknown command %s", unknown)

    async def _follow_directory(self, address: str) -> None:
        """Returns when the directory names another control plane."""
        while True:
            await asyncio.sleep(DIRECTORY_CHECK_S)
            if await self._address() not in (None, address):
                return


def _describe(error: Exception) -> str:
    if isinstance(error, aio.AioRpcError):
        return f"{error.code().name} {error.details()}"
    return str(error)
