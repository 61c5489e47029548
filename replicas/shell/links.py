"""What runs here and who follows it: submissions in, deltas out to whom they belong.

Request ids belong to their link: inside the engine every submission gets a
serial number in front, so two gateways may use the same id, and a late token
of a cancelled request can never reach a newer request of that name. The unit
is one choice of one request: a choice that still runs on a link is refused
there as invalid.

Invariant: every sequence in the engine has a ticket, except choices that were
given up before they forked, which leave as they fork. A ticket is followed by
exactly one link, or parked. The end of a stream parks what it followed; only
its gateway's word, or a gateway that does not read, cancels at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from heapq import nsmallest
from itertools import groupby

from protos.messages import (
    CopySource,
    Delta,
    Handoff,
    Refusal,
    RefusalReason,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    SequenceId,
    SequenceReport,
    StepEvents,
)
from protos.moves import Claim
from protos.trace import Export, no_export
from replicas.config import ReplicaConfig
from replicas.engine.engine import Engine
from replicas.engine.marks import Mark
from replicas.shell.clock import now_ns
from replicas.shell.link import GatewayLink, LinkFault, Ticket
from replicas.shell.parking import Parking
from replicas.shell.reporter import Reporter
from replicas.shell.spans import about, spans_of
from replicas.shell.stint import Stint

logger = logging.getLogger(__name__)

# How a choice ends here, besides finishing.
CANCELLED = "cancelled"
MOVED = "moved"
HANDED_BACK = "handed_back"
OVERDUE = "overdue"

# Called with what was just submitted, by its name in the engine, and who has its first blocks.
Fetch = Callable[[RequestId, CopySource], None]


def fetch_nothing(_request_id: RequestId, _source: CopySource) -> None:
    """Where copies are not made, requests compute."""


class Links:
    """All links of a replica, and the choices that wait for one."""

    def __init__(
        self,
        engine: Engine,
        reporter: Reporter,
        work: asyncio.Event,
        config: ReplicaConfig,
        export: Export = no_export,
        fetch: Fetch = fetch_nothing,
    ) -> None:
        self.export = export  # the spans of what has ended here
        self._fetch = fetch
        self._engine = engine
        self._reporter = reporter
        self._work = work
        self._replica_id = config.replica_id
        self._messages_max = config.link_messages_max
        self._links: list[GatewayLink] = []
        self._submissions: dict[RequestId, dict[int, Ticket]] = {}  # by their inner ids
        self._parking = Parking(config, self._drop)
        self._serial = 0
        self._is_failed = False

    # ---- links

    def attach(self) -> GatewayLink:
        """A new link, with a first snapshot in its outbox. Broken already if the replica failed."""
        link = GatewayLink(self._messages_max)
        self._links.append(link)
        self._send(link, self.news())
        if self._is_failed:
            link.break_off(LinkFault.UNHEALTHY)
        return link

    def detach(self, link: GatewayLink, *, park: bool) -> None:
        """Forget the link. What it follows is parked, or cancelled. Idempotent."""
        if park:
            for ticket in link.tickets():
                link.let_go(ticket)
                self._parking.park(ticket)
        else:
            self._drop(*link.tickets())
        if link in self._links:
            self._links.remove(link)

    def finish(self) -> None:
        """End every link after what it has been sent already."""
        for link in self._links:
            link.finish()

    def fail(self) -> None:
        """Break every link, and every later one."""
        self._is_failed = True
        for link in self._links:
            link.break_off(LinkFault.UNHEALTHY)

    @property
    def parked(self) -> int:
        """Choices that no link follows."""
        return len(self._parking)

    # ---- what gateways ask

    def submit(self, link: GatewayLink, request: Request) -> None:
        """Hand the request to the engine; a refusal goes out on the link."""
        choices = range(request.first_choice, request.first_choice + request.choices)
        if link.follows_any(request.request_id, choices):
            self._refuse(link, _duplicate(request.request_id, request.first_choice))
            return
        inner = self.name(request.request_id)
        came_ns = now_ns()
        source, request = request.copy_from, replace(request, copy_from=None)
        refusal = self._engine.submit(replace(request, request_id=inner), now_ns=came_ns)
        if refusal is not None:
            outer = replace(refusal, request_id=request.request_id, choice=request.first_choice)
            self._refuse(link, outer)
            return
        resumed = [SampledToken(token) for token in request.output]
        for choice in choices:
            ticket = Ticket(inner, request, choice, choices, list(resumed), Stint(came_ns))
            self._admit(ticket)
            link.follow(ticket)
        if source is not None:
            self._fetch(inner, source)
        self._work.set()

    def adopt(self, link: GatewayLink, claim: Claim) -> None:
        """Let the link follow a parked choice; the answer, also a refusal, goes out on it."""
        if link.ticket(claim.request_id, claim.choice) is not None:
            self._refuse(link, _duplicate(claim.request_id, claim.choice))
            return
        ticket = self._parking.find(claim)
        if ticket is None:
            self._refuse(link, _gone(claim))
            return
        self._parking.leave(ticket)
        if ticket.finish is not None:
            self._end(ticket, ticket.finish.value)
        else:
            ticket.mates = range(ticket.choice, ticket.choice + 1)
            link.follow(ticket)
        answer = ticket.since(claim.next_index, now_ns())
        self._send(link, StepEvents((answer,), (), self._reporter.snapshot()))

    def cancel(self, link: GatewayLink, request_id: RequestId, choice: int) -> None:
        """Stop all that was submitted or adopted with this choice; nothing more of it is sent.

        Unknown ones have just finished: ignored.
        """
        named = link.ticket(request_id, choice)
        if named is None:
            return
        self._drop(*(ticket for ticket in link.tickets_of(request_id) if _are_mates(ticket, named)))

    # ---- what the engine says

    def begin(self, marks: Sequence[Mark]) -> None:
        """A step begins, and does this to sequences."""
        at_ns = now_ns()
        for mark in marks:
            choices = self._submissions.get(mark.request_id, {})
            for choice in mark.choices:
                if choice in choices and choices[choice].stint.mark(mark.work, at_ns):
                    self._reporter.tell_wait(at_ns - choices[choice].stint.came_ns)

    def give_up(self) -> None:
        """Refuse what waits beyond its deadline; what nobody follows ends in silence."""
        for refusal in self._engine.give_up(now_ns()):
            # None where a link that does not read was just broken off, with all on it.
            here = tuple(self._submissions.get(refusal.request_id, {}).values())
            groups = groupby(here, key=lambda ticket: (ticket.link, ticket.mates))
            firsts = [(link, next(mates)) for (link, _), mates in groups]
            for ticket in here:
                self._end(ticket, OVERDUE)
            for link, first in firsts:
                if link is not None:
                    told = replace(refusal, request_id=first.request_id, choice=first.choice)
                    self._refuse(link, told)

    def deliver(self, deltas: Sequence[Delta]) -> None:
        """One message to each gateway with what the step added to its requests."""
        of_link: dict[GatewayLink, list[Delta]] = {}
        at_ns = now_ns()
        for delta in deltas:
            ticket = self._submissions.get(delta.request_id, {}).get(delta.choice)
            if ticket is None:
                self._withdraw_unwanted(delta)  # given up while the step ran, or unforked
                continue
            told = ticket.add(delta, at_ns)
            link = ticket.link
            if link is None:
                self._parking.end_if_too_long(ticket)
                continue
            of_link.setdefault(link, []).append(told)
            if delta.finish is not None:
                self._end(ticket, delta.finish.value)
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

    # ---- what moves

    def name(self, request_id: RequestId) -> RequestId:
        """A name for the engine that no submission ever had."""
        self._serial += 1
        return RequestId(f"{self._serial}:{request_id}")

    def sequence_id(self, inner: RequestId, choice: int) -> SequenceId:
        return SequenceId(f"{inner}/{choice}")

    def of(self, sequence_id: SequenceId) -> tuple[RequestId, int] | None:
        """The submission's name in the engine and the choice; None if nobody asked for it here."""
        inner, _, choice = sequence_id.rpartition("/")
        if RequestId(inner) not in self._submissions or not choice.isdecimal():
            return None
        return RequestId(inner), int(choice)

    def said(self, sequence_id: SequenceId) -> tuple[SampledToken, ...]:
        """The whole output of a sequence that is here, as its client was told."""
        inner, choice = self._place(sequence_id)
        return tuple(self._submissions[inner][choice].said)

    def client_id(self, sequence_id: SequenceId) -> RequestId:
        """What its client calls the request of a sequence that is here."""
        inner, _ = self._place(sequence_id)
        return next(iter(self._submissions[inner].values())).request_id

    def sequences(self, count_max: int) -> tuple[SequenceReport, ...]:
        """The largest sequences of the engine, under their clients' request ids.

        Those that wait stand behind, in the order in which they are served. The
        first of them is told beyond any bound: room is made for it and nobody else.
        """
        reports = [report for report in self._engine.sequences() if self.of(report.sequence_id)]
        chosen = nsmallest(count_max, reports, key=lambda each: (each.is_waiting, -each.blocks))
        head = next((report for report in reports if report.is_waiting), None)
        if head is not None and head not in chosen:
            chosen.append(head)
        return tuple(replace(each, request_id=self.client_id(each.sequence_id)) for each in chosen)

    def give(self, sequence_id: SequenceId, target: ReplicaId | None, *, choices: int = 1) -> None:
        """Tell whoever follows them that these choices went to the target, or to nobody.

        Called by whoever has just taken them out of the engine: with `choices` more
        than one where they had not forked yet.
        """
        inner, first = self._place(sequence_id)
        here = self._submissions[inner]
        given = [here[choice] for choice in range(first, first + choices) if choice in here]
        for (link, _), group in groupby(given, key=lambda ticket: (ticket.link, ticket.mates)):
            mates = tuple(group)
            for ticket in mates:
                self._end(ticket, HANDED_BACK if target is None else MOVED)
            if link is not None:
                self._hand_off(link, mates[0], len(mates), target)
        self._work.set()  # the engine may be idle now

    def hand_back(self) -> int:
        """Take everything out of the engine and give it to nobody; answers how much it was."""
        sequences = self._engine.sequences()
        for report in sequences:
            withdrawn = self._engine.withdraw(report.request_id, report.choice)
            assert withdrawn is not None, f"{report.sequence_id} is reported and not here"
            if self.of(report.sequence_id) is not None:
                self.give(report.sequence_id, None, choices=withdrawn[1])
        return len(sequences)

    def receive(self, inner: RequestId, request: Request, said: Iterable[SampledToken]) -> None:
        """A choice has arrived, and runs in the engine as `inner`: park it for its gateway.

        `request` is in the form that resumes it, under its client's id.
        """
        assert request.choices == 1, "one choice moves at a time"
        choice = request.first_choice
        came_ns = now_ns()
        stint = Stint(came_ns, admitted_ns=came_ns)
        ticket = Ticket(inner, request, choice, range(choice, choice + 1), list(said), stint)
        self._admit(ticket)
        self._parking.park(ticket)
        self._work.set()

    def recall(self, inner: RequestId) -> None:
        """End what has arrived as `inner`: it runs where it came from. A claimed one stays."""
        arrived = self._submissions.get(inner, {}).values()
        self._drop(*(ticket for ticket in arrived if ticket.link is None))

    # ---- tickets

    def _place(self, sequence_id: SequenceId) -> tuple[RequestId, int]:
        place = self.of(sequence_id)
        assert place is not None, f"{sequence_id} is not here"
        return place

    def _admit(self, ticket: Ticket) -> None:
        self._submissions.setdefault(ticket.inner, {})[ticket.choice] = ticket

    def _end(self, ticket: Ticket, outcome: str) -> None:
        """Its sequence is not in the engine (any more), or is about to leave it."""
        ticket.stint.end(now_ns())
        if ticket.request.traceparent:
            self.export(spans_of(ticket, self._replica_id, outcome))
        if logger.isEnabledFor(logging.INFO):
            logger.info("choice ended", extra=about(ticket, outcome))
        choices = self._submissions[ticket.inner]
        del choices[ticket.choice]
        if not choices:
            del self._submissions[ticket.inner]
        self._parking.leave(ticket)
        if ticket.link is not None:
            ticket.link.let_go(ticket)

    def _drop(self, *tickets: Ticket) -> None:
        """Nobody wants them: take them out of the engine."""
        for ticket in tickets:
            self._end(ticket, CANCELLED)
        for ticket in tickets:
            if ticket.inner not in self._submissions:
                self._engine.cancel(ticket.inner)
            elif ticket.said:
                self._engine.withdraw(ticket.inner, ticket.choice)
            # Otherwise it has not forked: its siblings still need what it is part of.
            self._work.set()

    def _withdraw_unwanted(self, delta: Delta) -> None:
        if delta.finish is None:
            self._engine.withdraw(delta.request_id, delta.choice)

    # ---- messages

    def _hand_off(
        self, link: GatewayLink, first: Ticket, choices: int, target: ReplicaId | None
    ) -> None:
        account = first.stint.account(now_ns())
        handoff = Handoff(first.request_id, first.choice, choices, target, account)
        self._send(link, StepEvents((), (), self._reporter.snapshot(), (handoff,)))

    def _refuse(self, link: GatewayLink, refusal: Refusal) -> None:
        self._send(link, StepEvents((), (refusal,), self._reporter.snapshot()))

    def _send(self, link: GatewayLink, events: StepEvents) -> None:
        if link.is_broken:
            return
        if link.is_full:
            self.detach(link, park=False)
            link.break_off(LinkFault.SLOW)
        else:
            link.put(events)


def _are_mates(one: Ticket, other: Ticket) -> bool:
    """Whether they were submitted, or adopted, as one."""
    return (one.inner, one.mates) == (other.inner, other.mates)


def _duplicate(request_id: RequestId, choice: int) -> Refusal:
    message = "A request of this id is still running on this stream."
    return Refusal(request_id, RefusalReason.INVALID, message, choice)


def _gone(claim: Claim) -> Refusal:
    message = "Nothing that this claim gives a right to waits here."
    return Refusal(claim.request_id, RefusalReason.GONE, message, claim.choice)
