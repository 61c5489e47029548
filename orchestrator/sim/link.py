"""The ReplicaClient seam in memory: a gateway's link to one simulated replica.

As the live one it outlives the connections under it: when one breaks, or the
replica is silent for too long, every choice on it is lost at once, the report
is gone, and the link connects again after a growing wait. What arrives is
dealt out to the choices that it concerns; the report that came along may be
held back longer (`stale_s`), to see what routing does on old news.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.control.seams import LossReason, ReplicaLost, ReplicaRefused
from orchestrator.sim.inbox import Inbox
from orchestrator.sim.network import End, Exchange, Unreachable
from orchestrator.sim.pipe import Pipe
from orchestrator.sim.wire import Adopt, Cancel, GatewayMessage, Submit
from protos.identity import request_digest
from protos.messages import Delta, Handoff, Request, RequestId, Snapshot, StepEvents
from protos.moves import Claim

# None: the replica ends the stream, after all that it had to say.
DataExchange = Exchange[GatewayMessage, StepEvents | None]
Unit = tuple[RequestId, int]  # one choice of one request

# The live link's own.
SILENCE_S_MAX = 5.0
RETRY_S_FIRST = 0.1
RETRY_S_MAX = 2.0


@dataclass(slots=True)
class Attachment:
    """One connection and the choices on it. Dies with the connection."""

    end: End[StepEvents | None, GatewayMessage]
    inboxes: dict[Unit, Inbox] = field(default_factory=dict)

    def forget(self, request_id: RequestId, choices: Sequence[int]) -> None:
        """Nothing more of them concerns anybody."""
        for choice in choices:
            del self.inboxes[request_id, choice]

    def deal(self, events: StepEvents) -> None:
        """Hand what came to whom it concerns; strangers have been cancelled."""
        for delta in events.deltas:
            if (inbox := self.inboxes.get((delta.request_id, delta.choice))) is not None:
                inbox.put(delta)
        for handoff in events.handoffs:
            if (inbox := self.inboxes.get((handoff.request_id, handoff.choice))) is not None:
                inbox.put(handoff)
        for refusal in events.refusals:
            if (inbox := self.inboxes.get((refusal.request_id, refusal.choice))) is not None:
                inbox.end(ReplicaRefused(refusal))

    def lose(self, reason: LossReason) -> None:
        """The connection is gone, and every choice on it."""
        for inbox in self.inboxes.values():
            inbox.end(ReplicaLost(reason))


class SimLink:
    """Connects when it is made; `on_change` is called whenever its report has changed."""

    def __init__(
        self,
        exchange: DataExchange,
        address: str,
        node: str,
        on_change: Callable[[], None],
        *,
        stale_s: float,
        is_patient: bool,
    ) -> None:
        self.messages = 0  # delivered here so far
        self._exchange = exchange
        self._address = address
        self._node = node
        self._on_change = on_change
        self._is_patient = is_patient
        self._snapshot: Snapshot | None = None
        self._opened: Attachment | None = None
        self._attachment: Attachment | None = None  # the one opened, once something came on it
        self._heard_at = 0.0
        self._retry_s = RETRY_S_FIRST
        self._reports: Pipe[Snapshot] = Pipe(self._hear, delay_s=stale_s)
        self._hear_of = self._reports.send if stale_s else self._hear
        self._timer: asyncio.TimerHandle | None = None
        self._attach()

    # ---- the seam

    def snapshot(self) -> Snapshot | None:
        """The newest report that has arrived; None while the link is down."""
        return self._snapshot

    def submit(self, request: Request) -> AsyncGenerator[Delta | Handoff, None]:
        """Run the request here. Closing the generator early cancels what is left of it."""
        choices = range(request.first_choice, request.first_choice + request.choices)
        return self._follow(request.request_id, choices, Submit(request))

    def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta | Handoff, None]:
        """Go on with a choice that waits here."""
        claim = Claim(request.request_id, choice, request_digest(request), next_index)
        return self._follow(request.request_id, range(choice, choice + 1), Adopt(claim))

    async def close(self) -> None:
        """End the link and with it every request on it."""
        self._reports.cut()
        self._drop(LossReason.BROKEN)

    # ---- choices

    async def _follow(
        self, request_id: RequestId, choices: range, opening: Submit | Adopt
    ) -> AsyncGenerator[Delta | Handoff, None]:
        """What comes of the choices after this message, until all have ended or gone."""
        attachment = self._attachment
        if attachment is None:
            raise ReplicaLost(LossReason.UNREACHABLE)
        inbox = Inbox(is_patient=self._is_patient)
        for choice in choices:
            assert (request_id, choice) not in attachment.inboxes, "a choice is followed once"
            attachment.inboxes[request_id, choice] = inbox
        attachment.end.send(opening)
        left = list(choices)
        try:
            while left:
                event = await inbox.take()
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
            for choice in left:
                attachment.end.send(Cancel(request_id, choice))

    # ---- the connection

    def _attach(self) -> None:
        try:
            end = self._exchange.connect(self._node, self._address)
        except Unreachable:
            self._attach_later()
            return
        attachment = self._opened = Attachment(end)
        self._heard_at = self._now()
        end.listen(
            lambda events: self._take(attachment, events), lambda: self._end(LossReason.BROKEN)
        )
        self._watch()

    def _watch(self) -> None:
        """End the connection if nothing came for too long, else look again when that may be."""
        left_s = self._heard_at + SILENCE_S_MAX - self._now()
        if left_s <= 0:
            self._end(LossReason.SILENT)
        else:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._watch)

    def _take(self, attachment: Attachment, events: StepEvents | None) -> None:
        if events is None:
            self._end(LossReason.STOPPED)
            return
        self.messages += 1
        self._heard_at = self._now()
        self._retry_s = RETRY_S_FIRST
        self._attachment = attachment
        attachment.deal(events)
        self._hear_of(events.snapshot)

    def _end(self, reason: LossReason) -> None:
        """The connection is over; another one follows after a while."""
        self._drop(reason)
        self._attach_later()

    def _drop(self, reason: LossReason) -> None:
        """The link is down: say so before those who lost their choices look elsewhere."""
        if self._timer is not None:
            self._timer.cancel()
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.end.close()
            self._attachment = self._snapshot = None
            opened.lose(reason)
            self._on_change()

    def _attach_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._retry_s, self._attach)
        self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)

    def _hear(self, snapshot: Snapshot) -> None:
        if self._attachment is not None:  # a report held back may come when the link is down
            self._snapshot = snapshot
            self._on_change()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def ended(event: Delta | Handoff) -> range:
    """The choices of which nothing follows here."""
    match event:
        case Delta(choice=choice, finish=finish):
            return range(choice, choice + (finish is not None))
        case Handoff(choice=choice, choices=choices):
            return range(choice, choice + choices)
