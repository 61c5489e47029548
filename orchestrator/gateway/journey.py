"""One request on its way through the gateway: where it stands and what it went through.

A journey ends with its replica. What has not finished by then, because the
replica was lost or gave it away, sets out on a journey of its own in its
request's old place in the line. All journeys of one request share its Course.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from orchestrator.control.seams import LossReason
from orchestrator.gateway import refusals
from orchestrator.gateway.bill import Bill
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.line import Ticket
from orchestrator.gateway.record import Happening, Record
from orchestrator.gateway.stream import FirstAnswer, Timing
from orchestrator.gateway.stretches import Attempt, AttemptEnd
from orchestrator.gateway.told import Told
from orchestrator.policy.view import Subject
from protos.hashing import BlockHash, block_hashes, reusable_blocks
from protos.messages import Delta, Handoff, ModelCard, ReplicaId, Request
from protos.registry import Member

NS_PER_MS = 1_000_000
# After these the request itself may be what the replica died of.
SUSPICIOUS = frozenset({LossReason.BROKEN, LossReason.SILENT})
Life: TypeAlias = tuple[ReplicaId, int]  # a replica and its epoch: each is lost once


@dataclass(slots=True)
class Course:
    """What all journeys of one request share."""

    told: Told
    record: Record
    deadline_ns: int | None  # when the client stops waiting, if it says so
    victims: set[Life] = field(default_factory=set)  # lost under the request
    first_answer: FirstAnswer | None = None


@dataclass(slots=True)
class Journey:
    """Owned by the one generator that follows it."""

    course: Course
    request: Request
    card: ModelCard  # of the replicas that may run it; its blocks are named under it
    ticket: Ticket
    arrived_ns: int
    hashed_ns: int
    patience_ends_ns: int
    hashes: tuple[BlockHash, ...]
    is_resumption: bool = False  # its client has the beginning of the answer
    keeps_place: bool = False  # it had a place on a replica before, and is not sent away
    waits_at: ReplicaId | None = None  # moved there, to be adopted
    is_sought: bool = False  # it may wait anywhere, for any gateway
    followers: tuple[Journey, ...] = ()  # begin once it has been answered
    sent_to: Member | None = None
    registered: Mapping[ReplicaId, int] | None = None  # by the registry; None: it did not say
    hits: Mapping[ReplicaId, int] = field(default_factory=dict)  # those that are to come included
    hits_are_guessed: bool = False  # and nobody ever said so
    located_ns: int | None = None  # when the registry was asked
    locating_ns: int = 0  # time spent on learning them
    source: ReplicaId | None = None  # of blocks to copy to where it was placed last
    source_blocks: int = 0
    attempts: int = 0  # replicas asked
    setbacks: int = 0  # of these, in vain
    avoided: frozenset[ReplicaId] = frozenset()  # tried in vain, or given away by
    error: GatewayError | None = None  # of the last attempt
    tokens: int = 0  # delivered on it
    bill: Bill | None = None  # of the last placement, not settled yet
    attempt: Attempt | None = None  # the last one, for the record

    @property
    def subject(self) -> Subject:
        """The request as policies see it."""
        request = self.request
        return Subject(
            request_id=request.request_id,
            prompt_tokens=request.given_tokens,
            tokens_max=request.sampling.tokens_max - len(request.output),
            choices=request.choices,
            block_size=self.card.block_size,
            request_class=request.request_class,
            held=self.registered or {},
        )

    def set_off(self, replica_id: ReplicaId) -> Request:
        """A replica is about to be asked, for this."""
        self.attempts += 1
        record = self.course.record
        self.attempt = record.attempt(self.request.first_choice, replica_id)
        traceparent = record.traceparent(self.attempt)
        return replace(self.request, traceparent=traceparent) if traceparent else self.request

    def depart(self, end: AttemptEnd) -> None:
        """The replica asked last is done with it, if it was not before."""
        if self.attempt is not None:
            self.attempt.close(end, self.course.record.clock.now_ns())

    def hear(self, item: Delta | Handoff, choice: int) -> None:
        """What the replica says of its own time."""
        if self.attempt is not None and item.account is not None:
            self.attempt.accounts[choice] = item.account

    def in_time(self, request: Request, now_ns: int) -> Request:
        """As it is sent now: with the time that its client has left, if it says so."""
        deadline_ns = self.course.deadline_ns
        if deadline_ns is None:
            return request
        return replace(request, deadline_ms=max(0, deadline_ns - now_ns) // NS_PER_MS)

    def answered(self, first: Delta | Handoff, sent_ns: int, now_ns: int) -> None:
        """A replica answers. The first one that says something is what the client is told of."""
        assert self.sent_to is not None, "it came from somewhere"
        self.card = self.sent_to.record.card
        if self.attempt is not None:
            self.attempt.spoke_ns = now_ns
        if isinstance(first, Handoff):
            return
        self.course.record.answered(self.sent_to.record.replica_id, hit_tokens=first.hit_tokens)
        if self.course.first_answer is not None:
            return
        self.course.first_answer = FirstAnswer(
            self.sent_to.record.replica_id,
            self.attempts,
            Timing(
                hash_ns=self.hashed_ns - self.arrived_ns,
                locate_ns=self.locating_ns,
                queue_ns=sent_ns - self.hashed_ns - self.locating_ns,
                first_delta_ns=now_ns - sent_ns,
                replica_queue_ns=0 if first.account is None else first.account.queue_ns,
            ),
        )

    def note(
        self,
        what: Happening,
        replica_id: ReplicaId | None = None,
        detail: str = "",
        load: str = "",
    ) -> None:
        """Something happened to its choices, from the first one on. `load`: for operators."""
        self.course.record.note(self.request.first_choice, what, replica_id, detail, load)

    def suffer(self, reason: LossReason, *, losses_max: int) -> None:
        """Count the loss of its replica. Raises PoisonRequest if its request has cost so many."""
        victims = self.course.victims
        if self.sent_to is not None and reason in SUSPICIOUS:
            victims.add((self.sent_to.record.replica_id, self.sent_to.epoch))
        if len(victims) >= losses_max:
            self.note(Happening.GIVEN_UP, detail=f"{len(victims)} replicas were lost under it")
            raise refusals.poison(len(victims))


def prefix_hashes(request: Request, card: ModelCard) -> tuple[BlockHash, ...]:
    """Names of the blocks that a replica may find instead of computing them."""
    usable = reusable_blocks(request.given_tokens, block_size=card.block_size)
    return block_hashes(
        (*request.prompt, *request.output)[: usable * card.block_size],
        block_size=card.block_size,
        root=card.scope(request.salt),
    )
