"""How the choices of a request get through the cluster, whatever becomes of replicas.

`follow` is one journey: reach a replica, pass on what it says, and where
choices leave it, or it is lost, branch off into a journey for each of them.
`merge` reads all of them side by side.

- Lost: resumed on another replica, from the tokens told.
- Moved: adopted at the target, at the next token. If that fails: as if lost,
  only that nobody is suspected.
- Handed back: resumed elsewhere. A request of which nothing was told yet goes
  on its way as a whole.
- Sought, because its client comes from another gateway: adopted where it
  waits, or computed again from its beginning.

Each source is closed by the generator that reads it, so closing the stream
ends every choice wherever it is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from orchestrator.control.cluster import Cluster, Debit
from orchestrator.control.seams import Clock, LossReason, ReplicaLost, ReplicaRefused
from orchestrator.gateway import refusals
from orchestrator.gateway.admissions import Admissions
from orchestrator.gateway.adoption import Adoption, Answer
from orchestrator.gateway.decisions import Decisions
from orchestrator.gateway.dispatch_config import DispatchConfig
from orchestrator.gateway.errors import GatewayError, PoisonRequest
from orchestrator.gateway.fleet import Fleet
from orchestrator.gateway.journey import (
    Course,
    Journey,
    prefix_hashes,
)
from orchestrator.gateway.line import Ticket
from orchestrator.gateway.merge import Branch, Source
from orchestrator.gateway.poisons import Poisons
from orchestrator.gateway.record import Happening, Record
from orchestrator.gateway.stretches import AttemptEnd, Stage
from orchestrator.gateway.told import Told, choices_of
from orchestrator.gateway.totals import HandoffKind, Totals
from protos.messages import (
    CopySource,
    Delta,
    Handoff,
    ModelCard,
    RefusalReason,
    ReplicaId,
    Request,
)
from protos.registry import Member

log = logging.getLogger(__name__)


class Travel:
    """Follows journeys. What they share is in their Course."""

    def __init__(
        self,
        fleet: Fleet,
        cluster: Cluster,
        clock: Clock,
        config: DispatchConfig,
        admissions: Admissions,
        totals: Totals,
        decisions: Decisions,
    ) -> None:
        self._fleet = fleet
        self._cluster = cluster
        self._clock = clock
        self._config = config
        self._admissions = admissions
        self._totals = totals
        self._decisions = decisions
        self._poisons = Poisons(clock)
        self._adoption = Adoption(fleet, clock, config, totals)

    # ---- setting out

    def set_out(
        self, request: Request, card: ModelCard, deadline_ns: int | None, record: Record | None
    ) -> Journey:
        """Name the prompt's blocks and take a ticket. Raises PoisonRequest for a known one."""
        record = record or self._decisions.begin(request)
        record.prepared(request)
        if request in self._poisons:
            record.note(
                request.first_choice, Happening.GIVEN_UP, detail="replicas died of its like"
            )
            raise refusals.known_poison()
        arrived_ns = self._clock.now_ns()
        hashing = record.stretch(Stage.HASH, request.first_choice, arrived_ns)
        hashes = prefix_hashes(request, card)
        hashed_ns = hashing.ended_ns = self._clock.now_ns()
        hashing.detail = f"{len(hashes)} blocks"
        return Journey(
            course=Course(Told(request), record, deadline_ns),
            request=request,
            card=card,
            ticket=self._admissions.line.arrive(),
            arrived_ns=arrived_ns,
            hashed_ns=hashed_ns,
            patience_ends_ns=self._patience_ends(request, arrived_ns, deadline_ns),
            hashes=hashes,
        )

    def set_out_again(
        self, journey: Journey, rest: Request, *, avoided: frozenset[ReplicaId] = frozenset()
    ) -> Journey:
        """One choice, or some that have not forked, from the request's old place in the line."""
        now_ns = self._clock.now_ns()
        return Journey(
            course=journey.course,
            request=rest,
            card=journey.card,
            ticket=Ticket(journey.ticket.number, rest.first_choice),
            arrived_ns=now_ns,
            hashed_ns=now_ns,
            patience_ends_ns=self._patience_ends(rest, now_ns, journey.course.deadline_ns),
            hashes=prefix_hashes(rest, journey.card),
            is_resumption=True,
            keeps_place=True,
            avoided=avoided,
        )

    def _patience_ends(self, request: Request, now_ns: int, deadline_ns: int | None) -> int:
        """When it stops waiting: when its client does, or its class."""
        ends_ns = now_ns + self._config.patience_of(request.request_class)
        return ends_ns if deadline_ns is None else min(ends_ns, deadline_ns)

    # ---- on the way

    async def follow(self, journey: Journey) -> Source:
        """All that comes of a journey, and branches for those on which it goes on."""
        here = list(choices_of(journey.request))
        try:
            first, source = await self._reach(journey)
            async with aclosing(source):
                for follower in journey.followers:
                    yield Branch(self.follow(follower))
                item: Delta | Handoff | None = first
                while item is not None:
                    match item:
                        case Delta(tokens=tokens, finish=finish):
                            self._tell(journey, item, here)
                            if tokens or finish is not None:
                                yield item
                        case Handoff():
                            for rest in self._part(journey, item, here):
                                yield Branch(self.follow(rest))
                    item = await anext(source, None)
            return
        except ReplicaRefused as refused:
            # After its first answer a replica refuses only what it never began: an adopted choice.
            journey.depart(AttemptEnd.REFUSED)
            raise refusals.refused(refused.refusal).error from refused
        except ReplicaLost as lost:
            journey.depart(AttemptEnd.LOST)
            rests = self._go_on(journey, here, lost.reason)
        finally:
            journey.depart(AttemptEnd.LEFT)
            self._admissions.settle(journey, tokens=journey.tokens)
        for rest in rests:
            yield Branch(self.follow(rest))

    async def _reach(self, journey: Journey) -> Answer:
        """The first thing said by the first replica that answers, and the source of the others."""
        try:
            while True:
                answer = await self._adoption.adopt(journey) or await self._place(journey)
                first, source = answer
                match first:
                    case Handoff(choices=choices) if choices == journey.request.choices:
                        await source.aclose()
                        self._turn_elsewhere(journey, first)
                    case _:
                        return answer
        except PoisonRequest:
            raise
        except GatewayError as error:
            if not journey.is_resumption:
                raise
            raise refusals.cut() from error

    async def _place(self, journey: Journey) -> Answer:
        """A place, as many replicas as it may take, and the answer of one of them."""
        while True:
            debit = await self._admissions.place(journey)
            self._decisions.placed(journey.course.record, journey.request.first_choice)
            try:
                return await self._submit(journey, debit)
            except ReplicaRefused as refused:
                reason = refused.refusal.reason.value
                journey.depart(AttemptEnd.REFUSED)
                journey.note(Happening.REFUSED, debit.replica_id, reason)
                if refused.refusal.reason is RefusalReason.OVERDUE:
                    self._admissions.count_overdue(journey.request)
                self._turn_back(journey, debit.replica_id, refusals.refused(refused.refusal))
            except ReplicaLost as lost:
                reason = lost.reason.value
                journey.depart(AttemptEnd.LOST)
                journey.note(Happening.LOST, debit.replica_id, reason)
                self._suffer(journey, lost.reason)
                self._turn_back(journey, debit.replica_id, refusals.lost())

    def _suffer(self, journey: Journey, reason: LossReason) -> None:
        """Its replica was lost. Raises PoisonRequest where it may be the cause."""
        try:
            journey.suffer(reason, losses_max=self._config.losses_max)
        except PoisonRequest:
            self._poisons.add(journey.course.told.request)
            raise

    async def _submit(self, journey: Journey, debit: Debit) -> Answer:
        """Send the request where it was promised a place; the promise ends with its answer."""
        request = journey.set_off(debit.replica_id)
        sent_ns = self._clock.now_ns()
        try:
            journey.sent_to = self._fleet.member(debit.replica_id)
            client = self._fleet.client(debit.replica_id)
            if client is None or journey.sent_to is None:
                raise ReplicaLost(LossReason.UNREACHABLE)
            request = self._with_source(journey, journey.sent_to, request)
            source = client.submit(journey.in_time(request, sent_ns))
            first = await anext(source, None)
            if first is None:
                raise ReplicaLost
        finally:
            self._cluster.release(debit)
            self._admissions.line.wake()
        heard_ns = self._clock.now_ns()
        if isinstance(first, Delta):
            self._cluster.observe_first_token(debit, heard_ns)
        journey.answered(first, sent_ns, heard_ns)
        self._compare_hits(journey, first)
        return first, source

    def _with_source(self, journey: Journey, target: Member, request: Request) -> Request:
        """As it is sent: with whom to ask for its first blocks, if he is there and serves the same.

        For this attempt only. What resumes may copy, too: blocks are named by all
        its tokens, those that were delivered included.
        """
        source = None if journey.source is None else self._fleet.member(journey.source)
        if source is None or source.record.card != target.record.card:
            return request
        record = source.record
        copy_from = CopySource(record.replica_id, record.address, journey.source_blocks)
        return replace(request, copy_from=copy_from)

    def _compare_hits(self, journey: Journey, first: Delta | Handoff) -> None:
        """What the replica was said to have, or to have soon, and what it had.

        Where blocks were to be copied to it nobody can tell: it finds those, too.
        """
        bill = journey.bill
        if isinstance(first, Delta) and bill is not None and not journey.source_blocks:
            found = first.hit_tokens // journey.card.block_size
            told, intended = bill.registered_blocks, bill.intended_blocks
            missing = max(0, told + intended - found)
            self._totals.registry_hit_blocks += told
            self._totals.registry_false_hit_blocks += max(0, missing - intended)
            self._totals.intended_hit_blocks += intended
            self._totals.intended_false_hit_blocks += min(missing, intended)

    # ---- turns of the way

    def _turn_back(
        self, journey: Journey, replica_id: ReplicaId, setback: refusals.Setback
    ) -> None:
        """Go on to another replica, or end with the error of this one."""
        journey.setbacks += 1
        if setback.retry is None or journey.setbacks >= self._config.attempts_max:
            raise setback.error
        self._totals.retried[setback.retry] += 1
        journey.avoided |= {replica_id}
        journey.error = setback.error

    def _turn_elsewhere(self, journey: Journey, handoff: Handoff) -> None:
        """The whole journey was given away before anything was said."""
        giver = self._given_away(journey, handoff)
        journey.depart(_end_of(handoff))
        # Each replica may do so once for nothing; after that it is one that fails.
        journey.setbacks += giver in journey.avoided
        if journey.setbacks >= self._config.attempts_max:
            raise refusals.handed_back()
        if handoff.target is None:
            journey.keeps_place = True
            now_ns, deadline_ns = self._clock.now_ns(), journey.course.deadline_ns
            journey.patience_ends_ns = self._patience_ends(journey.request, now_ns, deadline_ns)
        journey.avoided |= {giver}
        if journey.request.choices == 1:  # what has not forked cannot be moved, only sent again
            journey.waits_at = handoff.target

    def _tell(self, journey: Journey, delta: Delta, here: list[int]) -> None:
        """The client is about to have this; a choice that it finishes is not here any more."""
        journey.course.told.add(delta)
        journey.tokens += len(delta.tokens)
        journey.course.record.completion_tokens += len(delta.tokens)
        journey.hear(delta, delta.choice)
        if delta.finish is not None and delta.choice in here:
            here.remove(delta.choice)
            if not here:
                journey.depart(AttemptEnd.FINISHED)

    def _part(self, journey: Journey, handoff: Handoff, here: list[int]) -> list[Journey]:
        """Choices leave the replica: a journey for each of them, the others stay."""
        named = range(handoff.choice, handoff.choice + handoff.choices)
        leaving = [choice for choice in here if choice in named]
        if not leaving:
            return []
        here[:] = [choice for choice in here if choice not in leaving]
        giver = self._given_away(journey, handoff)
        if not here:
            journey.depart(_end_of(handoff))
        told = journey.course.told
        rests = [
            self.set_out_again(journey, told.rest(choice), avoided=frozenset({giver}))
            for choice in leaving
        ]
        for rest in rests:
            rest.waits_at = handoff.target
        return rests

    def _given_away(self, journey: Journey, handoff: Handoff) -> ReplicaId:
        """Count it; the replica that did so."""
        assert journey.sent_to is not None, "given away by somebody"
        giver = journey.sent_to.record.replica_id
        is_move = handoff.target is not None
        journey.hear(handoff, handoff.choice)
        self._totals.handoffs[HandoffKind.MOVED if is_move else HandoffKind.HANDED_BACK] += 1
        journey.course.record.note(
            handoff.choice,
            Happening.MOVED if is_move else Happening.HANDED_BACK,
            giver,
            handoff.target or "",
        )
        return giver

    def _go_on(
        self, journey: Journey, here: Sequence[int], reason: LossReason
    ) -> tuple[Journey, ...]:
        """The replica was lost in the middle: a journey for each choice that it did not finish."""
        assert journey.sent_to is not None, "lost where it was"
        lost = journey.sent_to.record.replica_id
        journey.note(Happening.LOST, lost, reason.value)
        self._suffer(journey, reason)
        self._totals.streams_resumed[reason] += 1
        told = journey.course.told
        log.warning(
            "lost replica %s (%s); choices go on elsewhere, after so many tokens: %s",
            lost,
            reason.value,
            {choice: told.next_index(choice) for choice in here},
            extra=journey.course.record.log_fields(),
        )
        rests = tuple(
            self.set_out_again(journey, told.rest(choice), avoided=frozenset({lost}))
            for choice in here
        )
        if len(journey.course.victims) + 1 < self._config.losses_max:
            return rests
        # One more loss ends it: one goes ahead, so that it costs one replica and not several.
        for first in rests[:1]:
            first.followers = rests[1:]
        return rests[:1]


def _end_of(handoff: Handoff) -> AttemptEnd:
    return AttemptEnd.HANDED_BACK if handoff.target is None else AttemptEnd.MOVED
