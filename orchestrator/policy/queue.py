"""Who waits, and whose turn it is: by class, then tenant, then deadline.

- A better class goes first. Yet a class that waits and was given nothing for
  `starved_ns` has the next turn, once: however much is asked by better ones,
  it moves at that pace. Ageing single requests instead would, in a long
  overload, end with all of them in the best class, and its promise with it.
- Within a class the tenant goes first that was given least (shares.py).
- Of one tenant, what has begun already goes on first, then the earliest
  deadline, then the order of arrival.

A plain data structure: it takes the time as an argument and wakes nobody. How
many may wait is decided by admission; `latest_below` says who would give way.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.policy.shares import Shares, SharesConfig
from protos.messages import RequestClass


@dataclass(frozen=True, slots=True)
class QueueConfig:
    starved_ns: int = 20_000_000_000
    shares: SharesConfig = field(default_factory=SharesConfig)


@dataclass(frozen=True, slots=True)
class Place:
    """All that a request's turn depends on. It keeps its place through all its attempts."""

    request_class: RequestClass
    tenant: str
    deadline_ns: int
    number: int  # in the order of arrival
    choice: int = 0  # choices that go on separately share the number
    has_begun: bool = False  # its client has the beginning of the answer

    @property
    def turn(self) -> tuple[bool, int, int, int]:
        """The order among requests of one tenant."""
        return (not self.has_begun, self.deadline_ns, self.number, self.choice)


def turn_of(place: Place) -> tuple[bool, int, int, int]:
    return place.turn


class Lane:
    """Those of one class."""

    def __init__(self, config: SharesConfig) -> None:
        self.shares = Shares(config)
        self.passed_since_ns = 0  # nobody of the class was given anything since
        self._waiting: dict[str, list[Place]] = {}  # by tenant, each in order
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Place]:
        for places in self._waiting.values():
            yield from places

    def __contains__(self, place: Place) -> bool:
        places = self._waiting.get(place.tenant, [])
        index = bisect_left(places, place.turn, key=turn_of)
        return index < len(places) and places[index] == place

    def add(self, place: Place, now_ns: int) -> None:
        if not self._waiting:
            self.passed_since_ns = now_ns
        if place.tenant not in self._waiting:
            self.shares.begin(place.tenant)
        insort(self._waiting.setdefault(place.tenant, []), place, key=turn_of)
        self._count += 1

    def remove(self, place: Place) -> None:
        places = self._waiting[place.tenant]
        places.remove(place)
        self._count -= 1
        if not places:
            del self._waiting[place.tenant]
            self.shares.rest(place.tenant)

    def head(self) -> Place:
        """The first; there must be one."""
        return min((places[0] for places in self._waiting.values()), key=self._rank)

    def ahead(self, place: Place) -> int:
        """About how many go first, if all cost the same; 0 exactly for the one that goes next."""
        before = bisect_left(self._waiting.get(place.tenant, []), place.turn, key=turn_of)
        mine = self._rank(self._waiting[place.tenant][0] if before else place)
        return before + sum(
            min(len(places), before + (self._rank(places[0]) < mine))
            for tenant, places in self._waiting.items()
            if tenant != place.tenant
        )

    def _rank(self, place: Place) -> tuple[int, tuple[bool, int, int, int], str]:
        return (self.shares.of(place.tenant), place.turn, place.tenant)


class WaitingQueue:
    """Everybody who waits at one gateway."""

    def __init__(self, config: QueueConfig) -> None:
        self._config = config
        self._lanes = {each: Lane(config.shares) for each in RequestClass}

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def __contains__(self, place: Place) -> bool:
        return place in self._lanes[place.request_class]

    def waiting(self, request_class: RequestClass) -> int:
        """How many of the class wait."""
        return len(self._lanes[request_class])

    def add(self, place: Place, now_ns: int) -> None:
        assert place not in self, "it waits already"
        self._lanes[place.request_class].add(place, now_ns)

    def remove(self, place: Place) -> None:
        assert place in self, "it does not wait"
        self._lanes[place.request_class].remove(place)

    def serve(self, place: Place, cost: int, now_ns: int) -> None:
        """It is given a place on a replica, whether or not it had to wait."""
        lane = self._lanes[place.request_class]
        lane.passed_since_ns = now_ns
        lane.shares.charge(place.tenant, cost)

    def correct(self, place: Place, difference: int) -> None:
        """What it was given cost so much more, or less, than was charged."""
        self._lanes[place.request_class].shares.correct(place.tenant, difference)

    def head(self, now_ns: int) -> Place | None:
        """Whose turn it is."""
        starved = self.starved(now_ns)
        if starved is not None:
            return self._lanes[starved].head()
        return next((lane.head() for lane in self._lanes.values() if len(lane)), None)

    def ahead(self, place: Place, now_ns: int) -> int:
        """How many go before it, whether or not it waits; 0 exactly if nobody does."""
        starved = self.starved(now_ns)
        own = self._lanes[place.request_class].ahead(place)
        if starved is place.request_class and own == 0:
            return 0
        rank = place.request_class.rank
        better = sum(len(lane) for each, lane in self._lanes.items() if each.rank < rank)
        is_worse_due = starved is not None and starved.rank > rank
        return better + own + is_worse_due

    def starved(self, now_ns: int) -> RequestClass | None:
        """The class that has the next turn because it had none for too long."""
        if not len(self):
            return None
        passed = {
            each: lane.passed_since_ns
            for each, lane in self._lanes.items()
            if len(lane) and now_ns - lane.passed_since_ns >= self._config.starved_ns
        }
        return min(passed, key=lambda each: (passed[each], each.rank), default=None)

    def latest_below(self, request_class: RequestClass) -> Place | None:
        """Who gives way to a newcomer of this class: the last to come of the worst class.

        Never one of its own class or a better one, and nobody who has begun.
        """
        for each in reversed(RequestClass):
            newcomers = [place for place in self._lanes[each] if not place.has_begun]
            if newcomers and each.rank > request_class.rank:
                return max(newcomers, key=lambda place: (place.number, place.choice))
        return None
