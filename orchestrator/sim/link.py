"""The ReplicaClient seam in memory: a gateway's link to one simulated replica.

As the live one it outlives the connections under it: when one breaks, or the
replica is silent for too long, every choice on it is lost at once, the report
is gone, and the link connects again after a growing wait. Who gets what comes
is decided by production code; the report that came along may be held back
longer (`stale_s`), to see what routing does on old news.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial

from orchestrator.control.seams import LossReason
from orchestrator.gateway.attachment import Attachment, Nowhere
from orchestrator.gateway.link_config import LinkConfig
from orchestrator.gateway.wire import GatewayMessage
from orchestrator.sim.inbox import Inbox
from orchestrator.sim.network import End, Exchange, Unreachable
from orchestrator.sim.pipe import Pipe
from protos.messages import Delta, Handoff, Request, Snapshot, StepEvents

# None: the replica ends the stream, after all that it had to say.
DataExchange = Exchange[GatewayMessage, StepEvents | None]
CONFIG = LinkConfig()


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
        self.name = f"the link of {node} to {address}"
        self.messages = 0  # delivered here so far
        self._exchange = exchange
        self._address = address
        self._node = node
        self._on_change = on_change
        self._snapshot: Snapshot | None = None
        self._make_attachment = partial(
            Attachment,
            make_inbox=partial(Inbox, is_patient=is_patient),
            choices_max=CONFIG.choices_max,
        )
        self._attachment = self._make_attachment(Nowhere())
        self._connection: End[StepEvents | None, GatewayMessage] | None = None
        self._heard_at = 0.0
        self._retry_s = CONFIG.retry_s_first
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
        return self._attachment.submit(request)

    def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta | Handoff, None]:
        """Go on with a choice that waits here."""
        return self._attachment.adopt(request, choice=choice, next_index=next_index)

    @property
    def following(self) -> int:
        """Choices that somebody asked for on the present stream."""
        return self._attachment.following

    def let_go(self) -> None:
        """What is given up from now on waits at the replica for another gateway."""
        self._attachment.let_go()

    async def close(self) -> None:
        """End the link and with it every request on it."""
        self._reports.cut()
        self._drop(LossReason.BROKEN)

    # ---- the connection

    def _attach(self) -> None:
        try:
            end = self._connection = self._exchange.connect(self._node, self._address)
        except Unreachable:
            self._attach_later()
            return
        self._attachment = self._make_attachment(end)
        self._heard_at = self._now()
        end.listen(self._take, lambda: self._end(LossReason.BROKEN))
        self._watch()

    def _watch(self) -> None:
        """End the connection if nothing came for too long, else look again when that may be."""
        left_s = self._heard_at + CONFIG.silence_s_max - self._now()
        if left_s <= 0:
            self._end(LossReason.SILENT)
        else:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._watch)

    def _take(self, events: StepEvents | None) -> None:
        if events is None:
            self._end(LossReason.STOPPED)
            return
        self.messages += 1
        self._heard_at = self._now()
        self._retry_s = CONFIG.retry_s_first
        self._attachment.deal(events)
        self._hear_of(events.snapshot)

    def _end(self, reason: LossReason) -> None:
        """The connection is over; another one follows after a while."""
        self._drop(reason)
        self._attach_later()

    def _drop(self, reason: LossReason) -> None:
        """The link is down: say so before those who lost their choices look elsewhere."""
        if self._timer is not None:
            self._timer.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            self._snapshot = None
            self._attachment.lose(reason)
            self._on_change()

    def _attach_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._retry_s, self._attach)
        self._retry_s = min(2 * self._retry_s, CONFIG.retry_s_max)

    def _hear(self, snapshot: Snapshot) -> None:
        if self._attachment.is_up:  # a report held back may come when the link is down
            self._snapshot = snapshot
            self._on_change()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
