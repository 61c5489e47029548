"""Go after a choice that waits at a replica for a gateway.

It was moved there, and the replica that moved it said where; or its gateway
was lost, and it may wait anywhere. Either way the answer is all it has said
from the index asked for on. Where it is not to be had, its journey goes on as
if there had been nothing to find.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import TypeAlias

from orchestrator.control.seams import Clock, LossReason, ReplicaLost, ReplicaRefused
from orchestrator.gateway.dispatch_config import DispatchConfig
from orchestrator.gateway.fleet import Fleet
from orchestrator.gateway.journey import Journey
from orchestrator.gateway.record import Happening
from orchestrator.gateway.search import Search
from orchestrator.gateway.stretches import AttemptEnd
from orchestrator.gateway.totals import AdoptionEnd, Totals
from protos.messages import Delta, Handoff, ReplicaId

log = logging.getLogger(__name__)

Events: TypeAlias = AsyncGenerator[Delta | Handoff, None]
Answer: TypeAlias = tuple[Delta | Handoff, Events]  # the first of them, and the others


class Adoption:
    """Of the choices that one gateway follows."""

    def __init__(self, fleet: Fleet, clock: Clock, config: DispatchConfig, totals: Totals) -> None:
        self._fleet = fleet
        self._clock = clock
        self._losses_max = config.losses_max
        self._search = Search(fleet, clock, config.search)
        self._totals = totals

    async def adopt(self, journey: Journey) -> Answer | None:
        """What its one choice says where it waits; None where it does not, or no longer.

        Asked once: the journey forgets where it was to look. Raises
        PoisonRequest when the replica is lost and was one too many.
        """
        if journey.is_sought:
            journey.is_sought = False
            return await self._seek(journey)
        target, journey.waits_at = journey.waits_at, None
        if target is None:
            return None
        try:
            return await self._claim(journey, target)
        except ReplicaRefused:
            self._failed(journey, target, AdoptionEnd.GONE)
        except ReplicaLost as lost:
            is_linked = lost.reason is not LossReason.UNREACHABLE
            end = AdoptionEnd.LOST if is_linked else AdoptionEnd.UNREACHABLE
            self._failed(journey, target, end)
            journey.avoided |= {target}
            journey.suffer(lost.reason, losses_max=self._losses_max)
        return None

    async def _claim(self, journey: Journey, target: ReplicaId) -> Answer:
        """From the next token on, at the replica to which it was moved."""
        journey.sent_to, link = self._fleet.member(target), self._fleet.client(target)
        if link is None or journey.sent_to is None:
            raise ReplicaLost(LossReason.UNREACHABLE)
        journey.set_off(target)
        asked_ns = self._clock.now_ns()
        source = link.adopt(
            journey.course.told.request,
            choice=journey.request.first_choice,
            next_index=len(journey.request.output),
        )
        first = await anext(source, None)
        if first is None:
            raise ReplicaLost
        self._totals.adoptions[AdoptionEnd.ADOPTED] += 1
        journey.note(Happening.ADOPTED, target)
        journey.answered(first, asked_ns, self._clock.now_ns())
        return first, source

    def _failed(self, journey: Journey, target: ReplicaId, end: AdoptionEnd) -> None:
        journey.depart(AttemptEnd.LOST if end is AdoptionEnd.LOST else AttemptEnd.REFUSED)
        self._totals.adoptions[end] += 1
        journey.note(Happening.ADOPTION_FAILED, target, end.value)
        log.warning(
            "choice %d was moved to replica %s and is not there (%s); it goes on elsewhere",
            journey.request.first_choice,
            target,
            end.value,
            extra=journey.course.record.log_fields(),
        )

    async def _seek(self, journey: Journey) -> Answer | None:
        """From its first token on, wherever it waits."""
        asked_ns = self._clock.now_ns()
        found = await self._search.find(journey.course.told.request, journey.request.first_choice)
        if found is None:
            self._totals.takeovers[AdoptionEnd.GONE] += 1
            journey.note(Happening.NOT_FOUND)
            return None
        journey.sent_to = found.member
        journey.set_off(found.member.record.replica_id)
        self._totals.takeovers[AdoptionEnd.ADOPTED] += 1
        replica_id = found.member.record.replica_id
        journey.note(Happening.TAKEN_OVER, replica_id)
        journey.answered(found.first, asked_ns, self._clock.now_ns())
        return found.first, found.source
