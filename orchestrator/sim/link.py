"""The ReplicaClient seam in memory: a gateway's link to one simulated replica.

Two pipes with a delay each way. Deltas and refusals are dealt out to the
requests they concern as they arrive; the report that came with them may be
held back longer (`stale_s`), to see what routing does on old news.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from orchestrator.control.seams import ReplicaLost, ReplicaRefused
from orchestrator.sim.pipe import Pipe
from orchestrator.sim.replica import SimReplica
from protos.messages import Delta, Request, RequestId, Snapshot, StepEvents


@dataclass(frozen=True, slots=True)
class Submission:
    request: Request


@dataclass(frozen=True, slots=True)
class Cancellation:
    request_id: RequestId


Inbox = asyncio.Queue[Delta | ReplicaRefused | ReplicaLost]


class SimLink:
    """Attached from the start; `on_change` is called whenever a report arrives."""

    def __init__(
        self,
        replica: SimReplica,
        on_change: Callable[[], None],
        *,
        delay_s: float,
        stale_s: float,
    ) -> None:
        self._replica = replica
        self._on_change = on_change
        self._snapshot: Snapshot | None = None
        self._inboxes: dict[RequestId, Inbox] = {}
        self._outward: Pipe[Submission | Cancellation] = Pipe(self._at_replica, delay_s=delay_s)
        self._inward: Pipe[StepEvents] = Pipe(self._at_gateway, delay_s=delay_s)
        self._reports: Pipe[Snapshot] = Pipe(self._hear, delay_s=stale_s)
        self._hear_of = self._reports.send if stale_s else self._hear
        self._attachment = replica.attach(self._inward.send)

    @property
    def messages(self) -> int:
        """Messages delivered so far, both ways."""
        return self._outward.delivered + self._inward.delivered

    # ---- the seam

    def snapshot(self) -> Snapshot | None:
        """The newest report that has arrived."""
        return self._snapshot

    async def submit(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Run the request here. Closing the generator early cancels it at the replica."""
        inbox = self._inboxes[request.request_id] = Inbox()
        self._outward.send(Submission(request))
        choices_left = request.choices
        try:
            while choices_left:
                match await inbox.get():
                    case Delta() as delta:
                        choices_left -= delta.finish is not None
                        yield delta
                    case end:
                        choices_left = 0
                        raise end
        finally:
            del self._inboxes[request.request_id]
            if choices_left:
                self._outward.send(Cancellation(request.request_id))

    async def close(self) -> None:
        """End the link and with it every request on it."""
        self._outward.cut()
        self._inward.cut()
        self._reports.cut()
        self._snapshot = None
        self._replica.detach(self._attachment)
        for inbox in self._inboxes.values():
            inbox.put_nowait(ReplicaLost())

    # ---- the ends of the pipes

    def _at_replica(self, message: Submission | Cancellation) -> None:
        match message:
            case Submission(request):
                self._replica.submit(self._attachment, request)
            case Cancellation(request_id):
                self._replica.cancel(request_id)

    def _at_gateway(self, events: StepEvents) -> None:
        """Hand what came to whom it concerns; strangers have been cancelled."""
        for delta in events.deltas:
            if (inbox := self._inboxes.get(delta.request_id)) is not None:
                inbox.put_nowait(delta)
        for refusal in events.refusals:
            if (inbox := self._inboxes.get(refusal.request_id)) is not None:
                inbox.put_nowait(ReplicaRefused(refusal))
        self._hear_of(events.snapshot)

    def _hear(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._on_change()
