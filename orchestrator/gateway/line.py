"""The line of requests that wait for room: first come, first served.

Only the head of the line is woken, when something may have changed; it looks
at the cluster again and either leaves or goes on waiting, and leaving wakes
the next. A request keeps its ticket through all its attempts, so one that a
replica sent back stands before everybody who came after it.

A request that no replica there is may take stands aside: it is woken by every
change, like the head, and holds up nobody.

The line knows neither its bound nor anybody's patience: policy/admit decides
who joins, and for how long.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from dataclasses import dataclass, field


@dataclass(slots=True, order=True)
class Ticket:
    """A place in the order of arrival; choices that go on separately share a number."""

    number: int
    choice: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


class Line:
    """Tickets in order of arrival."""

    def __init__(self) -> None:
        self._waiting: list[Ticket] = []
        self._aside: list[Ticket] = []
        self._arrived = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, ticket: Ticket) -> bool:
        place = self.ahead(ticket)
        return place < len(self._waiting) and self._waiting[place] is ticket

    def arrive(self) -> Ticket:
        """A ticket after all others. It stands in the line only once it joins."""
        self._arrived += 1
        return Ticket(self._arrived)

    def ahead(self, ticket: Ticket) -> int:
        """How many stand in the line before this ticket, whether or not it stands there too."""
        return bisect_left(self._waiting, ticket)

    def join(self, ticket: Ticket) -> None:
        """Stand in the line. Safe to repeat."""
        if ticket not in self:
            self.leave(ticket)
            insort(self._waiting, ticket)

    def step_aside(self, ticket: Ticket) -> None:
        """Wait beside the line. Safe to repeat."""
        self.leave(ticket)
        self._aside.append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Leave the line or the place beside it, and let the new head look."""
        if ticket in self:
            del self._waiting[self.ahead(ticket)]
            self.wake()
        elif ticket in self._aside:
            self._aside.remove(ticket)

    def wake(self) -> None:
        """Something may have changed: the head should look again, and those aside."""
        for ticket in (*self._waiting[:1], *self._aside):
            ticket.changed.set()
