"""The request path: hash, locate, admit, route, debit, submit, first delta.

Everything a front door needs to turn a `Request` into a stream of deltas, and
every way in which that can fail as one tree of exceptions (errors.py).

A replica that refuses for being full or draining, or is lost, costs the
client nothing but time: the request goes to another replica, a bounded number
of times, and keeps its place in the line. After the first delta that is a
resumption: each choice that has not finished goes on from the tokens
delivered, and the client gets the tokens it would have had. A choice that its
replica moved is adopted where it went, and resumed like any other where that
fails; its siblings stay where they are. Without the registry routing goes by
load and by what went where before (locator.py).

How a single choice travels is travel.py's; here is what a request is to its
front door.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from orchestrator.control.cluster import Cluster
from orchestrator.control.seams import Clock
from orchestrator.gateway.admissions import Admissions
from orchestrator.gateway.decisions import Decisions
from orchestrator.gateway.dispatch_config import DispatchConfig
from orchestrator.gateway.fleet import Fleet
from orchestrator.gateway.intended import IntendedBlocks
from orchestrator.gateway.journey import Course
from orchestrator.gateway.locator import Locator
from orchestrator.gateway.merge import merge
from orchestrator.gateway.promises import Alone, Promises
from orchestrator.gateway.record import Record
from orchestrator.gateway.stream import Stream, Timing
from orchestrator.gateway.told import choices_of
from orchestrator.gateway.totals import Totals
from orchestrator.gateway.travel import Travel
from orchestrator.policy.route import Route, route
from protos.messages import Delta, ModelCard, Request, RequestClass
from protos.registry import Announcer, RegistryReader

__all__ = ["Dispatch", "DispatchConfig", "Stream", "Timing"]


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
        announcer: Announcer | None = None,
    ) -> None:
        """Without an `announcer` it knows of no other gateway."""
        self.totals = Totals()
        self.decisions = Decisions(clock)
        self._fleet = fleet
        self._config = config
        intended = IntendedBlocks(cluster.members)
        locator = Locator(registry, intended, cluster, clock, self.totals, config.locate)
        promises = Promises(cluster, intended, announcer or Alone(), clock)
        self._admissions = Admissions(
            fleet, locator, promises, clock, config, self.decisions.watch(choose), self.totals
        )
        self._travel = Travel(
            fleet, cluster, clock, config, self._admissions, self.totals, self.decisions
        )

    # ---- for the front doors

    async def start(
        self, request: Request, *, deadline_ns: int | None = None, record: Record | None = None
    ) -> Stream:
        """Admit, locate, route, submit; returns when the first delta has arrived.

        `deadline_ns` (on the gateway's clock) is when its client stops
        waiting: a request still queued then is shed. Raises Unservable (no
        replica could ever hold it), InvalidRequest (context_length_exceeded,
        ...), Shed, NoReplica, ReplicaFailed or PoisonRequest. Cancelling the
        call cancels the request wherever it is. A `record` that is given is
        ended by whoever opened it.
        """
        card = self._fleet.card()
        if card is None:
            raise self._admissions.no_replica(request, self._config.admit.replica_return_s)
        journey = self._travel.set_out(request, card, deadline_ns, record)
        source = merge(self._travel.follow(journey))
        return await self._stream(journey.course, source, finished=frozenset())

    async def take_over(
        self,
        request: Request,
        card: ModelCard,
        *,
        finished: frozenset[int] = frozenset(),
        deadline_ns: int | None = None,
        record: Record | None = None,
    ) -> Stream:
        """As `start`, for a request that another gateway had begun to answer.

        Every choice but those `finished` is said again from its first token,
        by the replica where it waits or else by whichever computes it under
        this card. Whoever asks knows how much of it his client has.
        """
        self.totals.streams_taken_over += 1
        journey = self._travel.set_out(request, card, deadline_ns, record)
        sources = []
        for choice in choices_of(request):
            if choice not in finished:
                sought = self._travel.set_out_again(journey, journey.course.told.rest(choice))
                sought.is_sought = True
                sources.append(self._travel.follow(sought))
        return await self._stream(journey.course, merge(*sources), finished=finished)

    def let_go(self) -> None:
        """This gateway leaves: what is ended from now on goes on for whoever takes it over."""
        self._fleet.let_go()

    async def _stream(
        self, course: Course, source: AsyncGenerator[Delta, None], *, finished: frozenset[int]
    ) -> Stream:
        """With the first delta, or complete where nothing is left to come."""
        request = course.told.request
        first = await anext(source, None)
        return Stream(request, first, source, course.first_answer, self.totals, finished=finished)

    def is_ready(self) -> bool:
        """Whether some live replica takes work."""
        return bool(self._fleet.view().accepting)

    def card(self) -> ModelCard | None:
        """What the live replicas serve; None before any was seen."""
        return self._fleet.card()

    def pools(self) -> tuple[int, ...]:
        """The total blocks of each live replica that takes work."""
        return tuple(replica.blocks_total for replica in self._fleet.view().accepting)

    def blocks_stranded(self) -> int:
        """Unused blocks that are of no use to who waits."""
        return self._admissions.blocks_stranded()

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return len(self._admissions.line)

    @property
    def unplaced(self) -> int:
        """Requests that wait for a replica, whether or not they hold up others."""
        return self.waiting + self._admissions.line.aside

    def waiting_of(self, request_class: RequestClass) -> int:
        """Of these, the ones of a class."""
        return self._admissions.line.waiting(request_class)
