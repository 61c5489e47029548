"""Where requests wait for a place on a replica, and are promised one.

Each looks at the cluster when it arrives, and again whenever the cluster has
changed and it is its turn. Between a decision and its debit nothing is
awaited, so no two requests are promised the same blocks.

A choice that goes on after its replica was lost waits in its request's old
place, and is not turned away as long as its client has patience: not for a
line that is long, nor for want of a replica.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from orchestrator.control.cluster import Cluster, Debit
from orchestrator.control.seams import Clock
from orchestrator.gateway.dispatch_config import DispatchConfig
from orchestrator.gateway.errors import GatewayError, NoReplica, Shed, Unservable
from orchestrator.gateway.fleet import Fleet
from orchestrator.gateway.journey import Journey
from orchestrator.gateway.line import Line
from orchestrator.gateway.locator import Locator
from orchestrator.gateway.totals import Totals
from orchestrator.policy import admit as admission
from orchestrator.policy.admit import AdmitReason, QueueState
from orchestrator.policy.route import Route
from orchestrator.policy.scores import NS_PER_S
from orchestrator.policy.view import ClusterView, Subject

log = logging.getLogger(__name__)


class Admissions:
    """Promises places, in the order of the line."""

    def __init__(
        self,
        fleet: Fleet,
        cluster: Cluster,
        locator: Locator,
        clock: Clock,
        config: DispatchConfig,
        choose: Route,
        totals: Totals,
    ) -> None:
        self.line = Line()
        self._fleet = fleet
        self._cluster = cluster
        self._locator = locator
        self._clock = clock
        self._config = config
        self._choose = choose
        self._totals = totals
        fleet.on_change(self.line.wake)

    async def place(self, journey: Journey) -> Debit:
        """Wait for a place and be promised it. Raises when there will be none."""
        ticket = journey.ticket
        try:
            while True:
                await self._locate(journey)
                ticket.changed.clear()
                match self._admit(journey):
                    case admission.Admit(placement):
                        self._totals.placed[placement.reason] += 1
                        log.debug("%s: %s", journey.request.request_id, placement)
                        return self._cluster.charge(placement, self._clock.now_ns())
                    case admission.Queue(reason):
                        self._totals.queued[reason] += ticket not in self.line
                        self.line.join(ticket)
                        await self._wait(journey)
                    case admission.Shed(AdmitReason.NO_REPLICA) if self._may_hope(journey):
                        self.line.step_aside(ticket)
                        await self._wait(journey)
                    case admission.Shed(reason, retry_after_s):
                        raise self._turned_away(journey, reason, retry_after_s)
                    case admission.Refuse(reason):
                        self._totals.turned_away[reason] += 1
                        raise never_fits(journey.subject)
        finally:
            self.line.leave(ticket)

    async def _locate(self, journey: Journey) -> None:
        """Learn who holds the prefix, or learn it again after a long wait."""
        asked_ns = self._clock.now_ns()
        located_ns = journey.located_ns
        if located_ns is None or asked_ns - located_ns > self._config.hits_age_ns_max:
            journey.hits = await self._locator.locate(journey.hashes)
            journey.located_ns = self._clock.now_ns()
            journey.locating_ns += journey.located_ns - asked_ns

    def _may_hope(self, journey: Journey) -> bool:
        """Whether to wait for a replica that is not there: half an answer is worth it."""
        return journey.is_resumption and self._clock.now_ns() < journey.patience_ends_ns

    def _candidates(self, journey: Journey) -> ClusterView:
        """The replicas that may run it.

        What has begun goes on with the same weights or not at all, and rather
        than nowhere on a replica that it lost, once that reports again.
        """
        view = self._fleet.view()
        if journey.is_resumption:
            view = view.without(self._fleet.others_than(journey.card))
        untried = view.without(journey.avoided)
        return view if journey.is_resumption and not untried.accepting else untried

    def _admit(self, journey: Journey) -> admission.Admission:
        view = self._candidates(journey)
        queue = QueueState(
            ahead=self.line.ahead(journey.ticket),
            patience_ns=max(0, journey.patience_ends_ns - view.now_ns),
            # Whoever has begun is not sent away for what others may have to wait for.
            is_waiting=journey.is_resumption or journey.ticket in self.line,
        )
        return admission.admit(
            view, journey.subject, journey.hits, queue, self._config.admit, self._choose
        )

    async def _wait(self, journey: Journey) -> None:
        """Wait for one's turn until the cluster has changed or patience ends."""
        patience_ns = journey.patience_ends_ns - self._clock.now_ns()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0, patience_ns) / NS_PER_S):
                await journey.ticket.changed.wait()

    # ---- ends without an answer

    def _turned_away(
        self, journey: Journey, reason: AdmitReason, retry_after_s: int
    ) -> GatewayError:
        if reason is AdmitReason.NO_REPLICA:
            # When the only replicas left are those tried in vain, why they failed says more.
            return journey.error or self.no_replica(retry_after_s)
        self._totals.turned_away[reason] += 1
        return Shed(
            f"too many requests are waiting; try again in {retry_after_s} s",
            code=reason.value,
            retry_after_s=retry_after_s,
        )

    def no_replica(self, retry_after_s: int) -> NoReplica:
        """Nobody is there to ask."""
        self._totals.turned_away[AdmitReason.NO_REPLICA] += 1
        return NoReplica(
            "no replica is ready; try again soon",
            code=AdmitReason.NO_REPLICA.value,
            retry_after_s=retry_after_s,
        )


def never_fits(subject: Subject) -> Unservable:
    return Unservable(
        f"a prompt of {subject.prompt_tokens} tokens does not fit into the memory of any replica",
        code=AdmitReason.NEVER_FITS.value,
    )
