"""The request path: hash, locate, admit, route, debit, submit, first delta.

Everything a front door needs to turn a `Request` into a stream of deltas, and
every way in which that can fail as one tree of exceptions (errors.py).

A replica that refuses for being full or draining, or is lost, costs the
client nothing but time: the request goes to another replica, a bounded number
of times, and keeps its place in the line. After the first delta that is a
resumption: each choice that has not finished goes on from the tokens
delivered, and the client gets the tokens it would have had. Without the
registry routing goes by load alone.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from orchestrator.control.cluster import Cluster, Debit
from orchestrator.control.seams import Clock, LossReason, ReplicaLost, ReplicaRefused
from orchestrator.gateway import refusals
from orchestrator.gateway.admissions import Admissions
from orchestrator.gateway.dispatch_config import DispatchConfig
from orchestrator.gateway.errors import GatewayError, PoisonRequest
from orchestrator.gateway.fleet import Fleet
from orchestrator.gateway.journey import SUSPICIOUS, Journey, prefix_hashes
from orchestrator.gateway.line import Ticket
from orchestrator.gateway.locator import Locator
from orchestrator.gateway.merge import merge
from orchestrator.gateway.stream import Stream, Timing
from orchestrator.gateway.told import Told
from orchestrator.gateway.totals import Totals
from orchestrator.policy.route import Route, route
from protos.messages import Delta, ModelCard, ReplicaId, Request
from protos.registry import RegistryReader

__all__ = ["Dispatch", "DispatchConfig", "Stream", "Timing"]

log = logging.getLogger(__name__)


class Dispatch:
    """Finds the replica on which a request costs least and runs it there."""

    def __init__(
        self,
        fleet: Fleet,
        cluster: Cluster,
        registry: RegistryReader,
        clock: Clock,
        config: DispatchConfig,
        choose: Route = route,
    ) -> None:
        self.totals = Totals()
        self._fleet = fleet
        self._cluster = cluster
        self._clock = clock
        self._config = config
        locator = Locator(registry, clock, self.totals, config.locate)
        self._admissions = Admissions(fleet, cluster, locator, clock, config, choose, self.totals)

    # ---- for the front doors

    async def start(self, request: Request, *, deadline_ns: int | None = None) -> Stream:
        """Admit, locate, route, submit; returns when the first delta has arrived.

        `deadline_ns` (on the gateway's clock) is when its client stops
        waiting: a request still queued then is shed. Raises Unservable (no
        replica could ever hold it), InvalidRequest (context_length_exceeded,
        ...), Shed, NoReplica, ReplicaFailed or PoisonRequest. Cancelling the
        call cancels the request wherever it is.
        """
        journey = self._set_out(request, deadline_ns)
        source = self._follow(journey)
        first = await anext(source)
        assert journey.sent_to is not None and journey.timing is not None, "it came from somewhere"
        return Stream(
            request,
            first,
            source,
            replica_id=journey.sent_to.record.replica_id,
            attempts=journey.attempts,
            timing=journey.timing,
            totals=self.totals,
        )

    def is_ready(self) -> bool:
        """Whether some live replica takes work."""
        return bool(self._fleet.view().accepting)

    def card(self) -> ModelCard | None:
        """What the live replicas serve; None before any was seen."""
        return self._fleet.card()

    def pools(self) -> tuple[int, ...]:
        """The total blocks of each live replica that takes work."""
        return tuple(replica.blocks_total for replica in self._fleet.view().accepting)

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return len(self._admissions.line)

    # ---- the way of one request

    async def _follow(self, journey: Journey) -> AsyncGenerator[Delta, None]:
        """All deltas of a journey, and of those on which it goes on."""
        while True:
            first, source = await self._reach(journey)
            told = Told(journey.request)
            try:
                async with aclosing(source):
                    told.add(first)
                    yield first
                    async for delta in source:
                        told.add(delta)
                        yield delta
                return
            except ReplicaLost as lost:
                rests = self._go_on(journey, told, lost.reason)
            if len(rests) != 1:
                break
            (journey,) = rests
        async with aclosing(merge([self._follow(rest) for rest in rests])) as deltas:
            async for delta in deltas:
                yield delta

    async def _reach(self, journey: Journey) -> tuple[Delta, AsyncGenerator[Delta, None]]:
        """The first delta and the source of the others, from the first replica that answers."""
        try:
            while True:
                debit = await self._admissions.place(journey)
                try:
                    return await self._submit(journey, debit)
                except ReplicaRefused as refused:
                    self._turn_back(journey, debit.replica_id, refusals.refused(refused.refusal))
                except ReplicaLost as lost:
                    self._suffer(journey, lost.reason)
                    self._turn_back(journey, debit.replica_id, refusals.lost())
        except PoisonRequest:
            raise
        except GatewayError as error:
            if not journey.is_resumption:
                raise
            raise refusals.cut() from error

    def _go_on(self, journey: Journey, told: Told, reason: LossReason) -> list[Journey]:
        """The replica was lost in the middle: a journey for each choice that it did not finish."""
        assert journey.sent_to is not None, "lost where it was"
        replica_id = journey.sent_to.record.replica_id
        self._suffer(journey, reason)
        self.totals.streams_resumed[reason] += 1
        rests = told.rests()
        log.warning(
            "%s: lost replica %s (%s); choices go on elsewhere, after so many tokens: %s",
            journey.request.request_id,
            replica_id,
            reason.value,
            {rest.first_choice: len(rest.output) for rest in rests},
        )
        return [self._set_out_again(journey, replica_id, rest) for rest in rests]

    def _suffer(self, journey: Journey, reason: LossReason) -> None:
        """Count the loss of a replica; a request that has cost too many ends here."""
        if journey.sent_to is not None and reason in SUSPICIOUS:
            journey.victims.add((journey.sent_to.record.replica_id, journey.sent_to.epoch))
        if len(journey.victims) >= self._config.losses_max:
            raise refusals.poison(len(journey.victims))

    def _set_out(self, request: Request, deadline_ns: int | None) -> Journey:
        """Name the prompt's blocks and take a ticket."""
        card = self._fleet.card()
        if card is None:
            raise self._admissions.no_replica(self._config.admit.replica_return_s)
        arrived_ns = self._clock.now_ns()
        hashes = prefix_hashes(request, card)
        return Journey(
            request=request,
            card=card,
            ticket=self._admissions.line.arrive(),
            arrived_ns=arrived_ns,
            hashed_ns=self._clock.now_ns(),
            patience_ends_ns=self._patience_ends(arrived_ns, deadline_ns),
            deadline_ns=deadline_ns,
            hashes=hashes,
        )

    def _set_out_again(self, journey: Journey, lost: ReplicaId, rest: Request) -> Journey:
        """One choice, from its request's old place in the line to another replica."""
        now_ns = self._clock.now_ns()
        return Journey(
            request=rest,
            card=journey.card,
            ticket=Ticket(journey.ticket.number, rest.first_choice),
            arrived_ns=now_ns,
            hashed_ns=now_ns,
            patience_ends_ns=self._patience_ends(now_ns, journey.deadline_ns),
            deadline_ns=journey.deadline_ns,
            hashes=prefix_hashes(rest, journey.card),
            is_resumption=True,
            victims=journey.victims,
            avoided=frozenset({lost}),
        )

    def _patience_ends(self, now_ns: int, deadline_ns: int | None) -> int:
        ends_ns = now_ns + self._config.queue_ns_max
        return ends_ns if deadline_ns is None else min(ends_ns, deadline_ns)

    async def _submit(
        self, journey: Journey, debit: Debit
    ) -> tuple[Delta, AsyncGenerator[Delta, None]]:
        """Send the request where it was promised a place; the promise ends with its answer."""
        journey.attempts += 1
        sent_ns = self._clock.now_ns()
        try:
            journey.sent_to = self._fleet.member(debit.replica_id)
            client = self._fleet.client(debit.replica_id)
            if client is None or journey.sent_to is None:
                raise ReplicaLost(LossReason.UNREACHABLE)
            source = client.submit(journey.request)
            first = await anext(source, None)
            if first is None:
                raise ReplicaLost
        finally:
            self._cluster.release(debit)
            self._admissions.line.wake()
        before_sending_ns = sent_ns - journey.hashed_ns
        journey.card = journey.sent_to.record.card
        journey.timing = Timing(
            hash_ns=journey.hashed_ns - journey.arrived_ns,
            locate_ns=journey.locating_ns,
            queue_ns=before_sending_ns - journey.locating_ns,
            first_delta_ns=self._clock.now_ns() - sent_ns,
        )
        return first, source

    def _turn_back(
        self, journey: Journey, replica_id: ReplicaId, setback: refusals.Setback
    ) -> None:
        """Go on to another replica, or end with the error of this one."""
        if setback.retry is None or journey.attempts >= self._config.attempts_max:
            raise setback.error
        self.totals.retried[setback.retry] += 1
        journey.avoided |= {replica_id}
        journey.error = setback.error
