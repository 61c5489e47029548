"""Choices that nobody follows: they go on for a while, and wait to be claimed.

A choice is parked when its gateway's stream has ended, or when it arrived from
another replica. Whoever shows what was asked gets it, once. One that finishes
waits with its end all the same. What is not claimed is given up: when its
grace is over, when it has said too much that nobody hears, or when too many
are parked, then the one that has waited longest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from protos.identity import request_digest
from protos.messages import SequenceId
from protos.moves import Claim
from replicas.config import ReplicaConfig
from replicas.shell.link import Ticket


@dataclass(frozen=True, slots=True)
class _Stay:
    ticket: Ticket
    said_before: int
    grace: asyncio.TimerHandle


class Parking:
    """Parked tickets. `give_up` is told of each whose time is over; it has left by then."""

    def __init__(self, config: ReplicaConfig, give_up: Callable[[Ticket], None]) -> None:
        self._grace_s = config.park_grace_ms / 1000
        self._parked_max = config.parked_max
        self._tokens_max = config.park_tokens_max
        self._give_up = give_up
        self._stays: dict[SequenceId, _Stay] = {}  # the one that has waited longest first

    def __len__(self) -> int:
        return len(self._stays)

    def park(self, ticket: Ticket) -> None:
        assert ticket.link is None, "parked while a gateway follows it"
        assert ticket.sequence_id not in self._stays, "parked twice"
        loop = asyncio.get_running_loop()
        grace = loop.call_later(self._grace_s, self._end_stay, ticket)
        self._stays[ticket.sequence_id] = _Stay(ticket, len(ticket.said), grace)
        if len(self._stays) > self._parked_max:
            self._end_stay(next(iter(self._stays.values())).ticket)

    def leave(self, ticket: Ticket) -> None:
        """It is no longer parked. Idempotent."""
        stay = self._stays.pop(ticket.sequence_id, None)
        if stay is not None:
            stay.grace.cancel()

    def end_if_too_long(self, ticket: Ticket) -> None:
        """A parked ticket has said more: give it up if nobody will want to hear it all."""
        if len(ticket.said) - self._stays[ticket.sequence_id].said_before > self._tokens_max:
            self._end_stay(ticket)

    def find(self, claim: Claim) -> Ticket | None:
        """What the claim proves a right to, if it is here and can go on from there."""
        for stay in self._stays.values():
            ticket = stay.ticket
            if (ticket.request_id, ticket.choice) != (claim.request_id, claim.choice):
                continue
            if request_digest(ticket.request) == claim.digest and _can_tell(ticket, claim):
                return ticket
        return None

    def _end_stay(self, ticket: Ticket) -> None:
        self.leave(ticket)
        self._give_up(ticket)


def _can_tell(ticket: Ticket, claim: Claim) -> bool:
    """Whether all from `next_index` on is known. Of a resumed output only the tokens are."""
    if claim.next_index > len(ticket.said):
        return False
    if ticket.request.sampling.logprobs is None:
        return True
    return all(token.logprob is not None for token in ticket.said[claim.next_index :])
