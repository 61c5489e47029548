"""Where requests wait for a place on a replica, and are promised one.

Each looks at the cluster when it arrives, and again whenever the cluster has
changed and it is its turn. Between a decision and its debit nothing is
awaited, so no two requests are promised the same blocks. What a request is
expected to use is charged to its tenant then, and corrected when it has ended.

A choice that goes on after its replica was lost waits in its request's old
place, and is not turned away as long as its client has patience: not for a
line that is long, nor for want of a replica.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from itertools import islice

from orchestrator.control.cluster import Debit
from orchestrator.control.seams import Clock
from orchestrator.gateway.bill import Bill
from orchestrator.gateway.dispatch_config import DispatchConfig
from orchestrator.gateway.errors import GatewayError, NoReplica, Shed, Unservable
from orchestrator.gateway.fleet import Fleet
from orchestrator.gateway.journey import Journey
from orchestrator.gateway.line import Line, Ticket
from orchestrator.gateway.locator import Locator
from orchestrator.gateway.promises import Promises
from orchestrator.gateway.record import Happening
from orchestrator.gateway.stretches import Stage, Stretch
from orchestrator.gateway.totals import Totals
from orchestrator.policy import admit as admission
from orchestrator.policy.admit import AdmitReason, QueueState
from orchestrator.policy.queue import Place
from orchestrator.policy.route import Placement, Route
from orchestrator.policy.scores import NS_PER_S
from orchestrator.policy.stranded import blocks_stranded
from orchestrator.policy.usage import predicted_block_ns, used_block_ns
from orchestrator.policy.view import ClusterView, Subject
from protos.messages import Request

log = logging.getLogger(__name__)

# Whoever asks for metrics waits for so many of the line to be tried on each replica.
STRANDED_ASKED_MAX = 64


class Admissions:
    """Promises places, in the order of the line."""

    def __init__(
        self,
        fleet: Fleet,
        locator: Locator,
        promises: Promises,
        clock: Clock,
        config: DispatchConfig,
        choose: Route,
        totals: Totals,
    ) -> None:
        self.line = Line(clock.now_ns, config.queue)
        self._fleet = fleet
        self._locator = locator
        self._promises = promises
        self._clock = clock
        self._config = config
        self._choose = choose
        self._totals = totals
        self._waiting: dict[Ticket, Journey] = {}
        fleet.on_change(self.line.wake)

    async def place(self, journey: Journey) -> Debit:
        """Wait for a place and be promised it. Raises when there will be none."""
        ticket, place = journey.ticket, self._place_of(journey)
        waiting: Stretch | None = None
        try:
            while True:
                await self._locate(journey)
                waiting = waiting or self._stretch(journey, Stage.ADMIT)
                ticket.changed.clear()
                view = self._candidates(journey)
                match self._admit(view, journey, place):
                    case admission.Admit(placement):
                        return self._promise(view, journey, place, placement)
                    case admission.Queue(reason, pushes_out):
                        waiting.wait_for(reason.value)
                        if pushes_out:
                            self.line.push_out(place)
                        if place not in self.line:
                            self._totals.queued[place.request_class, reason] += 1
                            self._note(view, journey, place, Happening.QUEUED, reason)
                        self.line.join(place, ticket)
                        await self._wait(journey)
                    case admission.Shed(AdmitReason.NO_REPLICA) if self._may_hope(journey):
                        waiting.wait_for(AdmitReason.NO_REPLICA.value)
                        self.line.step_aside(place, ticket)
                        await self._wait(journey)
                    case admission.Shed(reason, retry_after_s):
                        self._note(
                            view, journey, place, Happening.TURNED_AWAY, reason, retry_after_s
                        )
                        raise self._turned_away(journey, reason, retry_after_s)
                    case admission.Refuse(reason):
                        self._totals.turned_away[place.request_class, reason] += 1
                        self._note(view, journey, place, Happening.TURNED_AWAY, reason)
                        raise never_fits(journey.subject)
        finally:
            self.line.leave(place)
            if waiting is not None:
                waiting.ended_ns = self._clock.now_ns()

    def _note(
        self,
        view: ClusterView,
        journey: Journey,
        place: Place,
        what: Happening,
        reason: AdmitReason,
        retry_after_s: int | None = None,
    ) -> None:
        """What was decided, and what it was decided by: its own part, and that of others."""
        patience_s = max(0, place.deadline_ns - self._clock.now_ns()) / NS_PER_S
        accepting = view.accepting
        known = [
            reason.value,
            f"{journey.subject.blocks_least} needed",
            f"patience {patience_s:.1f} s",
        ]
        if retry_after_s is not None:
            known.append(f"to come again in {retry_after_s} s")
        blocks_left = sum(replica.blocks_room(hit_blocks=0) for replica in accepting)
        ahead = self.line.ahead(place)
        load = f"{ahead} ahead, {blocks_left} blocks left on {len(accepting)} replicas"
        journey.note(what, detail=", ".join(known), load=load)

    def _stretch(self, journey: Journey, stage: Stage) -> Stretch:
        """This stage of its record begins."""
        record, choice = journey.course.record, journey.request.first_choice
        return record.stretch(stage, choice, self._clock.now_ns())

    def _place_of(self, journey: Journey) -> Place:
        """Where it stands, whenever it has to. Who has begun has nothing to be late for."""
        return Place(
            request_class=journey.request.request_class,
            tenant=journey.request.tenant,
            deadline_ns=journey.patience_ends_ns,
            number=journey.ticket.number,
            choice=journey.ticket.choice,
            has_begun=journey.keeps_place,
        )

    def _promise(
        self, view: ClusterView, journey: Journey, place: Place, placement: Placement
    ) -> Debit:
        """Charge the replica's blocks, and its tenant."""
        self._totals.placed[placement.reason] += 1
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s", placement, extra=journey.course.record.log_fields())
        self.settle(journey, tokens=0)  # an attempt before this one came to nothing
        scores = self._config.admit.route.scores
        charged = predicted_block_ns(view, placement, scores)
        self.line.serve(place, charged)
        now_ns = self._clock.now_ns()
        journey.source, journey.source_blocks = placement.source, placement.source_blocks
        registered = (journey.registered or {}).get(placement.replica_id, 0)
        hit_blocks = placement.hit_blocks
        known_blocks = 0 if journey.hits_are_guessed else hit_blocks
        registered_blocks = min(known_blocks, registered)
        journey.bill = Bill(
            charged, hit_blocks, registered_blocks, known_blocks - registered_blocks, now_ns
        )
        return self._promises.make(placement, journey.hashes, held=known_blocks)

    def settle(self, journey: Journey, *, tokens: int) -> None:
        """The journey's replica is done with it, after so many tokens: charge what it used."""
        # Where its KV was moved to, nothing was predicted for it.
        bill = journey.bill or Bill(0, 0, 0, 0, began_ns=journey.arrived_ns)
        journey.bill = None
        used = used_block_ns(
            journey.subject,
            hit_blocks=bill.hit_blocks,
            tokens=tokens,
            decode_ns=self._clock.now_ns() - bill.began_ns if tokens else 0,
        )
        self.line.correct(self._place_of(journey), used - bill.charged)

    async def _locate(self, journey: Journey) -> None:
        """Learn who holds the prefix, again after a long wait, and who soon will, each time."""
        asked_ns = self._clock.now_ns()
        located_ns = journey.located_ns
        if located_ns is None or asked_ns - located_ns > self._config.hits_age_ns_max:
            locating = self._stretch(journey, Stage.LOCATE)
            journey.registered = await self._locator.locate(journey.hashes)
            journey.located_ns = locating.ended_ns = self._clock.now_ns()
            held = max((journey.registered or {}).values(), default=0)
            locating.detail = f"{held} of {len(journey.hashes)} blocks"
            journey.locating_ns += journey.located_ns - asked_ns
        hits = self._locator.hits(journey.registered, journey.hashes)
        journey.hits, journey.hits_are_guessed = hits.blocks, hits.is_guess

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

    def _admit(self, view: ClusterView, journey: Journey, place: Place) -> admission.Admission:
        queue = self._queue_state(view, journey, place)
        subject, config = journey.subject, self._config.admit
        if journey.ticket.is_pushed_out:
            return admission.give_way(view, subject, journey.hits, queue, config)
        return admission.admit(view, subject, journey.hits, queue, config, self._choose)

    def _queue_state(self, view: ClusterView, journey: Journey, place: Place) -> QueueState:
        is_full = len(self.line) >= self._config.admit.queue_max
        return QueueState(
            ahead=self.line.ahead(place),
            patience_ns=max(0, place.deadline_ns - view.now_ns),
            # Whoever had a place is not sent away for what others may have to wait for.
            is_waiting=journey.keeps_place or place in self.line,
            has_deadline=journey.course.deadline_ns == journey.patience_ends_ns,
            is_full=is_full,
            has_worse=is_full and self.line.has_worse(place),
            is_overdue=self.line.is_overdue(place),
        )

    async def _wait(self, journey: Journey) -> None:
        """Wait for one's turn until the cluster has changed or patience ends."""
        patience_ns = journey.patience_ends_ns - self._clock.now_ns()
        self._waiting[journey.ticket] = journey
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0, patience_ns) / NS_PER_S):
                    await journey.ticket.changed.wait()
        finally:
            del self._waiting[journey.ticket]

    def blocks_stranded(self) -> int:
        """Blocks that are unused and of no use to those who wait, or to the first of them."""
        first = islice(self._waiting.values(), STRANDED_ASKED_MAX)
        waiting = [(journey.subject, journey.hits) for journey in first]
        return blocks_stranded(self._fleet.view(), waiting, self._config.admit.route.scores)

    # ---- ends without an answer

    def _turned_away(
        self, journey: Journey, reason: AdmitReason, retry_after_s: int
    ) -> GatewayError:
        if reason is AdmitReason.NO_REPLICA:
            # When the only replicas left are those tried in vain, why they failed says more.
            return journey.error or self.no_replica(journey.request, retry_after_s)
        self._totals.turned_away[journey.request.request_class, reason] += 1
        return Shed(
            f"too many requests are waiting; try again in {retry_after_s} s",
            code=reason.value,
            retry_after_s=retry_after_s,
        )

    def count_overdue(self, request: Request) -> None:
        """A replica turned it away: its client's patience ended in the line there."""
        self._totals.turned_away[request.request_class, AdmitReason.WAIT_TOO_LONG] += 1

    def no_replica(self, request: Request, retry_after_s: int) -> NoReplica:
        """Nobody is there to ask."""
        self._totals.turned_away[request.request_class, AdmitReason.NO_REPLICA] += 1
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
