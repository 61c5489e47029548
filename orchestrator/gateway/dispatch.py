"""The request path: hash, locate, admit, route, debit, submit, first delta.

Everything a front door needs to turn a `Request` into a stream of deltas, and
every way in which that can fail as one tree of exceptions (errors.py).

Between a decision and its debit nothing is awaited, so no two requests are
promised the same blocks. A replica that refuses for being full or draining,
or is lost before the first delta, costs the client nothing: the request goes
to another replica, a bounded number of times, and keeps its place in the
line. Without the registry routing goes by load alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from orchestrator.control.cluster import Cluster, Debit
from orchestrator.control.seams import Clock, ReplicaLost, ReplicaRefused
from orchestrator.gateway import refusals
from orchestrator.gateway.errors import GatewayError, NoReplica, Shed, Unservable
from orchestrator.gateway.fleet import Fleet
from orchestrator.gateway.line import Line, Ticket
from orchestrator.gateway.locator import Locator, LocatorConfig
from orchestrator.gateway.stream import Stream, Timing
from orchestrator.gateway.totals import Totals
from orchestrator.policy import admit as admission
from orchestrator.policy.admit import AdmitConfig, AdmitReason, QueueState
from orchestrator.policy.route import Route, route
from orchestrator.policy.scores import NS_PER_S
from orchestrator.policy.view import Subject
from protos.hashing import BlockHash, block_hashes, reusable_blocks
from protos.messages import ModelCard, ReplicaId, Request
from protos.registry import RegistryReader

__all__ = ["Dispatch", "DispatchConfig", "Stream", "Timing"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DispatchConfig:
    admit: AdmitConfig = field(default_factory=AdmitConfig)
    locate: LocatorConfig = field(default_factory=LocatorConfig)
    attempts_max: int = 3  # replicas tried for one request
    queue_ns_max: int = 30_000_000_000  # patience of a client that names no deadline
    hits_age_ns_max: int = 250_000_000  # a request that waited longer looks for hits again


@dataclass(slots=True)
class Journey:
    """One request on its way to its first delta; owned by one call of `start`."""

    request: Request
    subject: Subject
    hashes: tuple[BlockHash, ...]
    ticket: Ticket
    arrived_ns: int
    hashed_ns: int
    patience_ends_ns: int
    hits: Mapping[ReplicaId, int] = field(default_factory=dict)
    located_ns: int | None = None  # when the hits were learned
    locating_ns: int = 0  # time spent on learning them
    attempts: int = 0
    avoided: frozenset[ReplicaId] = frozenset()  # tried in vain
    error: GatewayError | None = None  # of the last attempt


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
        self._choose = choose
        self._locator = Locator(registry, clock, self.totals, config.locate)
        self._line = Line()
        fleet.on_change(self._line.wake)

    # ---- for the front doors

    async def start(self, request: Request, *, deadline_ns: int | None = None) -> Stream:
        """Admit, locate, route, submit; returns when the first delta has arrived.

        `deadline_ns` (on the gateway's clock) is when its client stops
        waiting: a request still queued then is shed. Raises Unservable (no
        replica could ever hold it), InvalidRequest (context_length_exceeded,
        ...), Shed, NoReplica or ReplicaFailed. Cancelling the call cancels
        the request wherever it is.
        """
        journey = self._set_out(request, deadline_ns)
        while True:
            debit = await self._place(journey)
            try:
                return await self._submit(journey, debit)
            except ReplicaRefused as refused:
                self._turn_back(journey, debit.replica_id, refusals.refused(refused.refusal))
            except ReplicaLost:
                self._turn_back(journey, debit.replica_id, refusals.lost())

    def is_ready(self) -> bool:
        """Whether some live replica takes work."""
        return bool(self._fleet.view().accepting)

    def card(self) -> ModelCard | None:
        """What the live replicas serve; None before any was seen."""
        return self._fleet.card()

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return len(self._line)

    # ---- the way of one request

    def _set_out(self, request: Request, deadline_ns: int | None) -> Journey:
        """Name the prompt's blocks and take a ticket."""
        card = self._fleet.card()
        if card is None:
            raise self._no_replica(self._config.admit.replica_return_s)
        arrived_ns = self._clock.now_ns()
        usable = reusable_blocks(len(request.prompt), block_size=card.block_size)
        hashes = block_hashes(
            request.prompt[: usable * card.block_size],
            block_size=card.block_size,
            root=card.scope(request.salt),
        )
        patience_ends_ns = arrived_ns + self._config.queue_ns_max
        if deadline_ns is not None:
            patience_ends_ns = min(patience_ends_ns, deadline_ns)
        return Journey(
            request=request,
            subject=Subject(
                request_id=request.request_id,
                prompt_tokens=len(request.prompt),
                tokens_max=request.sampling.tokens_max,
                choices=request.choices,
                block_size=card.block_size,
            ),
            hashes=hashes,
            ticket=self._line.arrive(),
            arrived_ns=arrived_ns,
            hashed_ns=self._clock.now_ns(),
            patience_ends_ns=patience_ends_ns,
        )

    async def _place(self, journey: Journey) -> Debit:
        """Wait for a place and be promised it. Raises when there will be none."""
        ticket = journey.ticket
        try:
            while True:
                await self._locate(journey)
                ticket.changed.clear()
                match self._admit(journey):
                    case admission.Admit(placement):
                        self.totals.placed[placement.reason] += 1
                        log.debug("%s: %s", journey.request.request_id, placement)
                        return self._cluster.charge(placement, self._clock.now_ns())
                    case admission.Queue(reason):
                        self.totals.queued[reason] += ticket not in self._line
                        await self._wait(journey)
                    case admission.Shed(reason, retry_after_s):
                        raise self._turned_away(journey, reason, retry_after_s)
                    case admission.Refuse(reason):
                        self.totals.turned_away[reason] += 1
                        raise never_fits(journey.subject)
        finally:
            self._line.leave(ticket)

    async def _locate(self, journey: Journey) -> None:
        """Learn who holds the prefix, or learn it again after a long wait."""
        asked_ns = self._clock.now_ns()
        located_ns = journey.located_ns
        if located_ns is None or asked_ns - located_ns > self._config.hits_age_ns_max:
            journey.hits = await self._locator.locate(journey.hashes)
            journey.located_ns = self._clock.now_ns()
            journey.locating_ns += journey.located_ns - asked_ns

    def _admit(self, journey: Journey) -> admission.Admission:
        view = self._fleet.view().without(journey.avoided)
        queue = QueueState(
            ahead=self._line.ahead(journey.ticket),
            patience_ns=max(0, journey.patience_ends_ns - view.now_ns),
            is_waiting=journey.ticket in self._line,
        )
        return admission.admit(
            view, journey.subject, journey.hits, queue, self._config.admit, self._choose
        )

    async def _wait(self, journey: Journey) -> None:
        """Stand in the line until the cluster has changed or patience ends."""
        self._line.join(journey.ticket)
        patience_ns = journey.patience_ends_ns - self._clock.now_ns()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0, patience_ns) / NS_PER_S):
                await journey.ticket.changed.wait()

    async def _submit(self, journey: Journey, debit: Debit) -> Stream:
        """Send the request where it was promised a place; the promise ends with its answer."""
        journey.attempts += 1
        sent_ns = self._clock.now_ns()
        try:
            client = self._fleet.client(debit.replica_id)
            if client is None:
                raise ReplicaLost
            source = client.submit(journey.request)
            first = await anext(source, None)
            if first is None:
                raise ReplicaLost
        finally:
            self._cluster.release(debit)
            self._line.wake()
        before_sending_ns = sent_ns - journey.hashed_ns
        timing = Timing(
            hash_ns=journey.hashed_ns - journey.arrived_ns,
            locate_ns=journey.locating_ns,
            queue_ns=before_sending_ns - journey.locating_ns,
            first_delta_ns=self._clock.now_ns() - sent_ns,
        )
        return Stream(
            journey.request,
            first,
            source,
            replica_id=debit.replica_id,
            attempts=journey.attempts,
            timing=timing,
            totals=self.totals,
        )

    def _turn_back(
        self, journey: Journey, replica_id: ReplicaId, setback: refusals.Setback
    ) -> None:
        """Go on to another replica, or end with the error of this one."""
        if setback.retry is None or journey.attempts >= self._config.attempts_max:
            raise setback.error
        self.totals.retried[setback.retry] += 1
        journey.avoided |= {replica_id}
        journey.error = setback.error

    # ---- ends without an answer

    def _turned_away(
        self, journey: Journey, reason: AdmitReason, retry_after_s: int
    ) -> GatewayError:
        if reason is AdmitReason.NO_REPLICA:
            # When the only replicas left are those tried in vain, why they failed says more.
            return journey.error or self._no_replica(retry_after_s)
        self.totals.turned_away[reason] += 1
        return Shed(
            f"too many requests are waiting; try again in {retry_after_s} s",
            code=reason.value,
            retry_after_s=retry_after_s,
        )

    def _no_replica(self, retry_after_s: int) -> NoReplica:
        self.totals.turned_away[AdmitReason.NO_REPLICA] += 1
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
