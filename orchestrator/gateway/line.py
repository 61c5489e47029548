"""The line of requests that wait for room, and who of them is woken.

The order is policy/queue.py's. Only the head of the line is woken, when
something may have changed; it looks at the cluster again and either leaves or
goes on waiting, and leaving wakes the next. A request keeps its ticket
through all its attempts, so one that a replica sent back has its old place.

A request that no replica there is may take stands aside: it is woken by every
change, like the head, and holds up nobody.

The line knows neither its bound nor anybody's patience: policy/admit decides
who joins, and for how long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.policy.queue import Place, QueueConfig, WaitingQueue
from protos.messages import RequestClass


@dataclass(slots=True, eq=False)
class Ticket:
    """By which who waits is called. Choices that go on separately share a number."""

    number: int
    choice: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    is_pushed_out: bool = False  # it had to give way to a better class


class Line:
    """Places in the order of their turns, with the tickets of those who stand there."""

    def __init__(self, now_ns: Callable[[], int], config: QueueConfig) -> None:
        self._now_ns = now_ns
        self._queue = WaitingQueue(config)
        self._waiting: dict[Place, Ticket] = {}
        self._aside: dict[Place, Ticket] = {}
        self._arrived = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def aside(self) -> int:
        """How many wait beside it."""
        return len(self._aside)

    def __contains__(self, place: Place) -> bool:
        return place in self._waiting

    def waiting(self, request_class: RequestClass) -> int:
        """How many of the class stand in the line."""
        return self._queue.waiting(request_class)

    def arrive(self) -> Ticket:
        """A ticket of a number after all others. It stands in the line only once it joins."""
        self._arrived += 1
        return Ticket(self._arrived)

    # ---- whose turn it is

    def ahead(self, place: Place) -> int:
        """How many go before this place, whether or not somebody stands there."""
        return self._queue.ahead(place, self._now_ns())

    def is_overdue(self, place: Place) -> bool:
        """Whether the next turn is its class's because that had none for too long."""
        return self._queue.starved(self._now_ns()) is place.request_class

    def has_worse(self, place: Place) -> bool:
        """Whether somebody would give way to this place."""
        return self._queue.latest_below(place.request_class) is not None

    # ---- what tenants are given

    def serve(self, place: Place, block_ns: int) -> None:
        """It is given room on a replica, and so much is charged to its tenant."""
        self._queue.serve(place, block_ns, self._now_ns())

    def correct(self, place: Place, block_ns: int) -> None:
        """It has used so much more, or less, than was charged."""
        self._queue.correct(place, block_ns)

    # ---- coming and going

    def join(self, place: Place, ticket: Ticket) -> None:
        """Stand in the line. Safe to repeat."""
        if place not in self._waiting:
            self.leave(place)
            self._queue.add(place, self._now_ns())
            self._waiting[place] = ticket

    def push_out(self, newcomer: Place) -> None:
        """Let the last of the worst class give way to a newcomer of a better one."""
        last = self._queue.latest_below(newcomer.request_class)
        assert last is not None, "nobody gives way to it"
        ticket = self._waiting[last]
        ticket.is_pushed_out = True
        self.leave(last)
        ticket.changed.set()

    def step_aside(self, place: Place, ticket: Ticket) -> None:
        """Wait beside the line. Safe to repeat."""
        self.leave(place)
        self._aside[place] = ticket

    def leave(self, place: Place) -> None:
        """Leave the line or the place beside it, and let the new head look."""
        if place in self._waiting:
            del self._waiting[place]
            self._queue.remove(place)
            self.wake()
        else:
            self._aside.pop(place, None)

    def wake(self) -> None:
        """Something may have changed: the head should look again, and those aside."""
        if self._waiting:  # seldom, and every report wakes
            head = self._queue.head(self._now_ns())
            assert head is not None, "somebody waits"
            self._waiting[head].changed.set()
        for ticket in self._aside.values():
            ticket.changed.set()
