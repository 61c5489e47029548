"""A gateway's link to one replica over grpc.aio: one stream for all requests.

Theory: a background task keeps one ReplicaData.Attach stream open. What comes
on it is dealt out by the attachment, which lasts as long as the stream;
submissions, claims and cancellations leave through one outbox. When the stream
breaks, every request on it ends with ReplicaLost at once, the snapshot is
gone, and the task attaches again after a capped, growing wait.

A hung peer is noticed by its silence: replicas report several times a second
even when idle, so a stream without a message for `silence_s_max` is broken,
whatever the transport believes.

Bounds: choices on the link, deltas in an inbox, messages in the outbox. A
choice sends two at most, so an outbox for twice the choices overflows only
where the replica reports but does not read. Then the link is broken, at the
next report, and nothing more is sent on it until then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TypeAlias

from grpc import aio

from orchestrator.control.seams import LossReason
from orchestrator.gateway.attachment import Attachment, Nowhere
from orchestrator.gateway.link_config import LinkConfig
from orchestrator.gateway.wire import Adopt, Cancel, GatewayMessage, Submit
from orchestrator.live.inbox import Inbox
from protos import control_pb2, control_pb2_grpc
from protos.convert import claim_to_proto, request_to_proto, step_events_from_proto
from protos.messages import Delta, Handoff, Request, Snapshot
from protos.registry import ReplicaRecord
from protos.transport import Transport

log = logging.getLogger(__name__)

AttachCall: TypeAlias = "aio.StreamStreamCall[control_pb2.GatewayMessage, control_pb2.StepEvents]"

# A step's events for all sequences of a gateway, log-probabilities included.
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # Links do not inherit one another's waits for a connection.
    ("grpc.use_local_subchannel_pool", 1),
)


class NotRead(Exception):
    """The replica reports, but what is sent to it stays unread."""


class Outbox:
    """What waits to be sent on one stream."""

    def __init__(self, messages_max: int) -> None:
        self._messages: asyncio.Queue[GatewayMessage] = asyncio.Queue(messages_max)
        self._is_overfull = False

    @property
    def is_over(self) -> bool:
        """Whether a message found no room, which dooms the stream."""
        return self._is_overfull

    def send(self, message: GatewayMessage) -> None:
        """After those that wait."""
        if self._messages.full():
            self._is_overfull = True
        else:
            self._messages.put_nowait(message)

    async def take(self) -> GatewayMessage:
        """The next one to write."""
        return await self._messages.get()


class GrpcReplicaClient:
    """ReplicaClient over grpc.aio. Begins to attach when it is made, inside a running loop."""

    def __init__(
        self,
        record: ReplicaRecord,
        on_change: Callable[[], None],
        config: LinkConfig,
        transport: Transport,
    ) -> None:
        self._transport = transport
        self._record = record
        self._on_change = on_change
        self._config = config
        self._snapshot: Snapshot | None = None
        self._make_attachment = partial(
            Attachment,
            make_inbox=partial(Inbox, config.inbox_deltas_max),
            choices_max=config.choices_max,
        )
        self._attachment = self._make_attachment(Nowhere())
        self._retry_s = config.retry_s_first
        self._task = asyncio.create_task(self._stay_attached())

    # ---- the seam

    def snapshot(self) -> Snapshot | None:
        """The newest report; None while the link is down."""
        return self._snapshot

    def submit(self, request: Request) -> AsyncGenerator[Delta | Handoff, None]:
        """Run the request here. Closing the generator early cancels it at the replica."""
        return self._attachment.submit(request)

    def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta | Handoff, None]:
        """Go on with a choice that waits here; otherwise as `submit`."""
        return self._attachment.adopt(request, choice=choice, next_index=next_index)

    def let_go(self) -> None:
        """What is given up from now on waits at the replica for another gateway."""
        self._attachment.let_go()

    async def close(self) -> None:
        """End the link and with it every request on it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # ---- the stream

    async def _stay_attached(self) -> None:
        while True:
            try:
                await self._attach()
            except (aio.AioRpcError, TimeoutError, ValueError, NotRead) as error:
                log.info("link to %s: %s", self._record.replica_id, describe(error))
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(2 * self._retry_s, self._config.retry_s_max)

    async def _attach(self) -> None:
        """One stream, from its first message to its end."""
        outbox = Outbox(self._config.outbox_messages_max)
        attachment = self._attachment = self._make_attachment(outbox)
        async with self._transport.channel(self._record.address, CHANNEL_OPTIONS) as channel:
            call: AttachCall = control_pb2_grpc.ReplicaDataStub(channel).Attach()  # type: ignore[no-untyped-call]
            writer = asyncio.create_task(write(call, outbox))
            reason = LossReason.BROKEN
            try:
                await self._read(call, outbox, attachment)
                reason = LossReason.STOPPED
            except TimeoutError:
                reason = LossReason.SILENT
                raise
            finally:
                self._lose(attachment, reason)
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)

    async def _read(self, call: AttachCall, outbox: Outbox, attachment: Attachment) -> None:
        """Deal out what comes. Returns when the replica ended the stream."""
        while True:
            async with asyncio.timeout(self._config.silence_s_max):
                message = await call.read()
            if not isinstance(message, control_pb2.StepEvents):
                return
            events = step_events_from_proto(message)
            self._snapshot = events.snapshot
            self._retry_s = self._config.retry_s_first
            attachment.deal(events)
            self._on_change()
            if outbox.is_over:
                raise NotRead("it reports but does not read")

    def _lose(self, attachment: Attachment, reason: LossReason) -> None:
        """The link is down: say so before those who lost their request look elsewhere."""
        self._snapshot = None
        attachment.lose(reason)
        self._on_change()


async def write(call: AttachCall, outbox: Outbox) -> None:
    """Send what is in the outbox. A stream that cannot be written is ended for its reader too."""
    try:
        while True:
            await call.write(to_proto(await outbox.take()))
    except (aio.AioRpcError, asyncio.InvalidStateError):
        call.cancel()


def to_proto(message: GatewayMessage) -> control_pb2.GatewayMessage:
    match message:
        case Submit(request):
            return control_pb2.GatewayMessage(submit=request_to_proto(request))
        case Adopt(claim):
            return control_pb2.GatewayMessage(adopt=claim_to_proto(claim))
        case Cancel(request_id, choice):
            cancel = control_pb2.Cancel(request_id=request_id, choice=choice)
            return control_pb2.GatewayMessage(cancel=cancel)


def describe(error: Exception) -> str:
    match error:
        case aio.AioRpcError():
            return f"{error.code().name} {error.details()}"
        case TimeoutError():
            return "silent"
        case _:
            return str(error)
