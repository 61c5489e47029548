"""Gateways' links to this replica, without their transport.

A link is one attached gateway: the requests it runs here and a bounded outbox
of what it has not read yet. Request ids belong to their link: inside the
engine every submission gets a serial number in front, so two gateways may use
the same id, and a late token of a cancelled request can never reach a newer
request of that name. Within one link an id that is still running is refused
as invalid.

Invariant: a request is in the engine on behalf of exactly one link, and a
detached link has none. A gateway that does not read is not waited for: when
its outbox is full, the link breaks and its requests are cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from protos.messages import Delta, Refusal, RefusalReason, Request, RequestId, StepEvents
from replicas.engine.engine import Engine
from replicas.shell.reporter import Reporter


class LinkFault(Enum):
    """Why a link broke. The value is what its gateway is told."""

    SLOW = "the gateway does not read its tokens; its requests were cancelled"
    MALFORMED = "a message that is neither a submission nor a cancellation"
    UNHEALTHY = "the replica failed"


class LinkBroken(Exception):
    """The link cannot go on."""

    def __init__(self, fault: LinkFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class GatewayLink:
    """One attached gateway. Filled by `Links`, emptied by its transport."""

    def __init__(self, messages_max: int) -> None:
        self.requests: dict[RequestId, RequestId] = {}  # the gateway's id -> the engine's
        # The end mark needs a place even in a full outbox.
        self._outbox: asyncio.Queue[StepEvents | None] = asyncio.Queue(messages_max + 1)
        self._messages_max = messages_max
        self._fault: LinkFault | None = None
        self._broken = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return self._outbox.qsize() >= self._messages_max

    @property
    def is_broken(self) -> bool:
        return self._broken.is_set()

    def put(self, events: StepEvents) -> None:
        assert not self.is_full, "a full link is broken, not filled"
        self._outbox.put_nowait(events)

    def finish(self) -> None:
        """Nothing follows what is in the outbox. Called once."""
        self._outbox.put_nowait(None)

    async def get(self) -> StepEvents | None:
        """The next message; None after the last one."""
        return await self._outbox.get()

    def break_off(self, fault: LinkFault) -> None:
        self._fault = self._fault or fault
        self._broken.set()

    async def broken(self) -> None:
        """Raises LinkBroken once the link breaks; never returns."""
        await self._broken.wait()
        assert self._fault is not None
        raise LinkBroken(self._fault)


@dataclass(slots=True)
class _Ticket:
    """One request in the engine and who waits for it."""

    link: GatewayLink
    request_id: RequestId
    choices_left: int


class Links:
    """All links of a replica: submissions in, deltas out to whom they belong."""

    def __init__(
        self, engine: Engine, reporter: Reporter, work: asyncio.Event, *, messages_max: int
    ) -> None:
        self._engine = engine
        self._reporter = reporter
        self._work = work
        self._messages_max = messages_max
        self._links: list[GatewayLink] = []
        self._tickets: dict[RequestId, _Ticket] = {}
        self._serial = 0
        self._is_failed = False

    def attach(self) -> GatewayLink:
        """A new link, with a first snapshot in its outbox. Broken already if the replica failed."""
        link = GatewayLink(self._messages_max)
        self._links.append(link)
        self._send(link, self.news())
        if self._is_failed:
            link.break_off(LinkFault.UNHEALTHY)
        return link

    def detach(self, link: GatewayLink) -> None:
        """Cancel what the link still runs and forget it. Idempotent."""
        for request_id in tuple(link.requests):
            self.cancel(link, request_id)
        if link in self._links:
            self._links.remove(link)

    def submit(self, link: GatewayLink, request: Request) -> None:
        """Hand the request to the engine; a refusal goes out on the link."""
        if request.request_id in link.requests:
            self._refuse(link, _duplicate(request.request_id))
            return
        self._serial += 1
        inner = RequestId(f"{self._serial}:{request.request_id}")
        refusal = self._engine.submit(replace(request, request_id=inner))
        if refusal is not None:
            self._refuse(link, replace(refusal, request_id=request.request_id))
            return
        link.requests[request.request_id] = inner
        self._tickets[inner] = _Ticket(link, request.request_id, request.choices)
        self._work.set()

    def cancel(self, link: GatewayLink, request_id: RequestId) -> None:
        """Stop the request; nothing more of it is sent. Unknown ids have just finished: ignored."""
        inner = link.requests.pop(request_id, None)
        if inner is not None:
            del self._tickets[inner]
            self._engine.cancel(inner)
            self._work.set()

    def deliver(self, deltas: Sequence[Delta]) -> None:
        """One message to each gateway with what the step added to its requests."""
        of_link: dict[GatewayLink, list[Delta]] = {}
        for delta in deltas:
            ticket = self._tickets.get(delta.request_id)
            if ticket is None:
                continue  # cancelled while the step ran
            outer = replace(delta, request_id=ticket.request_id)
            of_link.setdefault(ticket.link, []).append(outer)
            if delta.finish is not None:
                self._finish_choice(delta.request_id, ticket)
        if of_link:
            snapshot = self._reporter.snapshot()
            for link, own in of_link.items():
                self._send(link, StepEvents(tuple(own), (), snapshot))

    def news(self) -> StepEvents:
        """What a link says when there is nothing but the time to tell: a snapshot."""
        return StepEvents((), (), self._reporter.snapshot())

    def report(self) -> None:
        """A snapshot to every gateway now."""
        events = self.news()
        for link in tuple(self._links):
            self._send(link, events)

    def finish(self) -> None:
        """End every link after what it has been sent already."""
        for link in self._links:
            link.finish()

    def fail(self) -> None:
        """Break every link, and every later one."""
        self._is_failed = True
        for link in self._links:
            link.break_off(LinkFault.UNHEALTHY)

    def _refuse(self, link: GatewayLink, refusal: Refusal) -> None:
        self._send(link, StepEvents((), (refusal,), self._reporter.snapshot()))

    def _send(self, link: GatewayLink, events: StepEvents) -> None:
        if link.is_broken:
            return
        if link.is_full:
            self.detach(link)
            link.break_off(LinkFault.SLOW)
        else:
            link.put(events)

    def _finish_choice(self, inner: RequestId, ticket: _Ticket) -> None:
        ticket.choices_left -= 1
        if ticket.choices_left == 0:
            del self._tickets[inner]
            del ticket.link.requests[ticket.request_id]


def _duplicate(request_id: RequestId) -> Refusal:
    return Refusal(
        request_id, RefusalReason.INVALID, "a request of this id is still running on this stream"
    )
