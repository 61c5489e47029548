"""A gateway's link to one replica over grpc.aio: one stream for all requests.

Theory: a background task keeps one ReplicaData.Attach stream open. Messages
that arrive are dealt out to the inboxes of those they concern; submissions,
claims and cancellations leave through one outbox. When the stream breaks,
every request on it ends with ReplicaLost at once, the snapshot is gone, and
the task attaches again after a capped, growing wait.

The unit is the choice of a request: choices of one request may have come here
by different ways, each with an inbox of its own, and a choice that was handed
off may come back while its siblings are still here.

A choice that was given up may be asked for again on the same stream, while
what the replica said before it heard of that is still on its way. Messages come
in order, so that is told apart: every claim is answered once, also when nobody
waits for it any more, and what was asked for begins at an index that is known.

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
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from grpc import aio

from orchestrator.control.seams import LossReason, ReplicaLost, ReplicaRefused
from orchestrator.live.inbox import Inbox
from protos import control_pb2, control_pb2_grpc
from protos.convert import claim_to_proto, request_to_proto, step_events_from_proto
from protos.identity import request_digest
from protos.messages import (
    Delta,
    Handoff,
    Refusal,
    RefusalReason,
    Request,
    RequestId,
    Snapshot,
    StepEvents,
)
from protos.moves import Claim
from protos.registry import ReplicaRecord

log = logging.getLogger(__name__)

Key: TypeAlias = tuple[RequestId, int]  # a choice
AttachCall: TypeAlias = "aio.StreamStreamCall[control_pb2.GatewayMessage, control_pb2.StepEvents]"

# A step's events for all sequences of a gateway, log-probabilities included.
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # Links do not inherit one another's waits for a connection.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """The patience and the bounds of one link."""

    silence_s_max: float = 5.0  # a peer this silent is hung
    retry_s_first: float = 0.1
    retry_s_max: float = 2.0
    choices_max: int = 4096
    inbox_deltas_max: int = 8192

    @property
    def outbox_messages_max(self) -> int:
        """A submission and a cancellation of every choice."""
        return 2 * self.choices_max


class NotRead(Exception):
    """The replica reports, but what is sent to it stays unread."""


class Attachment:
    """One open stream and the requests on it. Dies with the stream."""

    def __init__(self, outbox_messages_max: int) -> None:
        self.inboxes: dict[Key, Inbox] = {}
        # Claims that were given up before their answer, each of which still comes.
        self.unheard: Counter[Key] = Counter()
        self.outbox: asyncio.Queue[control_pb2.GatewayMessage] = asyncio.Queue(outbox_messages_max)
        self.is_overfull = False

    def post(self, message: control_pb2.GatewayMessage) -> None:
        """Send it, after those that wait. One that finds no room dooms the stream."""
        if self.outbox.full():
            self.is_overfull = True
        else:
            self.outbox.put_nowait(message)

    def deal(self, events: StepEvents) -> None:
        """Hand what came to whom it concerns; strangers have been cancelled."""
        for delta in events.deltas:
            key = (delta.request_id, delta.choice)
            if not self._is_unheard(key) and (inbox := self.inboxes.get(key)) is not None:
                inbox.put(delta)
        for handoff in events.handoffs:
            if (inbox := self.inboxes.get((handoff.request_id, handoff.choice))) is not None:
                inbox.put(handoff)
        for refusal in events.refusals:
            key = (refusal.request_id, refusal.choice)
            if not self._is_unheard(key) and (inbox := self.inboxes.get(key)) is not None:
                inbox.end(ReplicaRefused(refusal))

    def _is_unheard(self, key: Key) -> bool:
        """Whether this is the answer to a claim that was given up."""
        if key not in self.unheard:
            return False
        self.unheard -= Counter((key,))
        return True

    def forget(self, request_id: RequestId, choices: Sequence[int]) -> None:
        """Nothing more of them concerns anybody."""
        for choice in choices:
            del self.inboxes[request_id, choice]

    def lose(self, reason: LossReason) -> None:
        """The stream is gone, and every request on it."""
        for inbox in self.inboxes.values():
            inbox.end(ReplicaLost(reason))


class GrpcReplicaClient:
    """ReplicaClient over grpc.aio. Begins to attach when it is made, inside a running loop."""

    def __init__(
        self, record: ReplicaRecord, on_change: Callable[[], None], config: LinkConfig
    ) -> None:
        self._record = record
        self._on_change = on_change
        self._config = config
        self._snapshot: Snapshot | None = None
        self._attachment: Attachment | None = None
        self._retry_s = config.retry_s_first
        self._task = asyncio.create_task(self._stay_attached())

    # ---- the seam

    def snapshot(self) -> Snapshot | None:
        """The newest report; None while the link is down."""
        return self._snapshot

    def submit(self, request: Request) -> AsyncGenerator[Delta | Handoff, None]:
        """Run the request here. Closing the generator early cancels it at the replica."""
        choices = range(request.first_choice, request.first_choice + request.choices)
        message = submission(request)
        return self._follow(request.request_id, choices, message, first_index=len(request.output))

    def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta | Handoff, None]:
        """Go on with a choice that waits here; otherwise as `submit`."""
        claim = Claim(request.request_id, choice, request_digest(request), next_index)
        message = control_pb2.GatewayMessage(adopt=claim_to_proto(claim))
        choices = range(choice, choice + 1)
        return self._follow(request.request_id, choices, message, first_index=next_index)

    async def _follow(
        self,
        request_id: RequestId,
        choices: range,
        message: control_pb2.GatewayMessage,
        *,
        first_index: int,
    ) -> AsyncGenerator[Delta | Handoff, None]:
        """What comes of the choices after this message, until all have ended or gone."""
        attachment = self._attachment
        if attachment is None or attachment.is_overfull:
            raise ReplicaLost(LossReason.UNREACHABLE)
        keys = [(request_id, choice) for choice in choices]
        if len(attachment.inboxes) + len(keys) > self._config.choices_max:
            raise ReplicaRefused(too_many(request_id, choices[0]))
        if any(key in attachment.inboxes for key in keys):
            raise ReplicaRefused(duplicate(request_id, choices[0]))
        inbox = Inbox(self._config.inbox_deltas_max)
        attachment.inboxes |= dict.fromkeys(keys, inbox)
        attachment.post(message)
        left = list(choices)
        unbegun = set(choices)
        try:
            while left:
                event = await inbox.take()
                if event.choice in unbegun and isinstance(event, Delta):
                    if event.first_index != first_index:
                        continue  # said before the replica knew that it was given up
                    unbegun.remove(event.choice)
                if over := ended(event):
                    attachment.forget(request_id, [choice for choice in left if choice in over])
                    left = [choice for choice in left if choice not in over]
                yield event
        except ReplicaRefused:
            attachment.forget(request_id, left)
            left = []
            raise
        finally:
            attachment.forget(request_id, left)
            if message.HasField("adopt"):
                attachment.unheard.update((request_id, each) for each in left if each in unbegun)
            # Each by itself: the replica may have ended or moved any one of them by now.
            for choice in left:
                cancel = control_pb2.Cancel(request_id=request_id, choice=choice)
                attachment.post(control_pb2.GatewayMessage(cancel=cancel))

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
        attachment = Attachment(self._config.outbox_messages_max)
        async with aio.insecure_channel(self._record.address, options=CHANNEL_OPTIONS) as channel:
            call: AttachCall = control_pb2_grpc.ReplicaDataStub(channel).Attach()  # type: ignore[no-untyped-call]
            writer = asyncio.create_task(write(call, attachment.outbox))
            reason = LossReason.BROKEN
            try:
                await self._read(call, attachment)
                reason = LossReason.STOPPED
            except TimeoutError:
                reason = LossReason.SILENT
                raise
            finally:
                self._lose(attachment, reason)
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)

    async def _read(self, call: AttachCall, attachment: Attachment) -> None:
        """Deal out what comes. Returns when the replica ended the stream."""
        while True:
            async with asyncio.timeout(self._config.silence_s_max):
                message = await call.read()
            if not isinstance(message, control_pb2.StepEvents):
                return
            events = step_events_from_proto(message)
            self._attachment = attachment
            self._snapshot = events.snapshot
            self._retry_s = self._config.retry_s_first
            attachment.deal(events)
            self._on_change()
            if attachment.is_overfull:
                raise NotRead("it reports but does not read")

    def _lose(self, attachment: Attachment, reason: LossReason) -> None:
        """The link is down: say so before those who lost their request look elsewhere."""
        self._attachment = None
        self._snapshot = None
        attachment.lose(reason)
        self._on_change()


async def write(call: AttachCall, outbox: asyncio.Queue[control_pb2.GatewayMessage]) -> None:
    """Send what is in the outbox. A stream that cannot be written is ended for its reader too."""
    try:
        while True:
            await call.write(await outbox.get())
    except (aio.AioRpcError, asyncio.InvalidStateError):
        call.cancel()


def submission(request: Request) -> control_pb2.GatewayMessage:
    return control_pb2.GatewayMessage(submit=request_to_proto(request))


def ended(event: Delta | Handoff) -> range:
    """The choices of which nothing follows here."""
    match event:
        case Delta(choice=choice, finish=finish):
            return range(choice, choice + (finish is not None))
        case Handoff(choice=choice, choices=choices):
            return range(choice, choice + choices)


def too_many(request_id: RequestId, choice: int) -> Refusal:
    sentence = "the link to the replica is at its bound"
    return Refusal(request_id, RefusalReason.QUEUE_FULL, sentence, choice)


def duplicate(request_id: RequestId, choice: int) -> Refusal:
    sentence = "a request of this id is still running"
    return Refusal(request_id, RefusalReason.INVALID, sentence, choice)


def describe(error: Exception) -> str:
    match error:
        case aio.AioRpcError():
            return f"{error.code().name} {error.details()}"
        case TimeoutError():
            return "silent"
        case _:
            return str(error)
