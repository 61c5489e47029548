"""Two engines under everything at once, for as long as one likes.

Requests come and go like tides: for a while more than the small pools can hold,
so sequences are preempted, and some of them paused, then so few that the pools
run dry. Some repeat themselves, and what they say next is guessed. Some are
cancelled, between steps and in the middle of one; some move to the other engine
while they decode, or fail to. Half of the prompts are asked for again and again:
what these answer when they are alone is known beforehand, and nothing that
happens to them may change a token.

The same seed does the same things in the same order: only how far it gets in
its time depends on the machine.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from protos.messages import Refusal, Request, RequestClass, RequestId, SamplingParams
from tests.integration.soak.client import Answer, Client, Place
from tests.integration.soak.journey import Journey
from tests.integration.soak.member import Member

VOCAB = 256
TIDE_TURNS = 150
STEPS_TO_END_MAX = 20_000
CLASSES = tuple(RequestClass)


def draw_request(rng: random.Random, name: str, beginnings: Sequence[tuple[int, ...]]) -> Request:
    """Behind one of the beginnings: greedy or sampled, one choice or some, mostly short."""
    tail = tuple(rng.randrange(VOCAB) for _ in range(rng.randint(1, rng.choice((8, 60)))))
    greedy = rng.random() < 0.4
    return Request(
        RequestId(name),
        (*rng.choice(beginnings), *tail),
        SamplingParams(
            tokens_max=rng.randint(1, rng.choice((8, 40, 90))),
            temperature=0.0 if greedy else 0.9,
            repetition_penalty=1.0 if greedy else 1.2,
            # Who is rewarded for what he has said says it again, and it is guessed.
            frequency_penalty=rng.choice((0.0, 0.0, -2.0)),
            seed=rng.randrange(1 << 20),
            stop_token_ids=rng.choice(((), (), (101,))),
        ),
        choices=rng.choice((1, 1, 1, 2, 3)),
        salt=rng.choice((b"", b"", b"tenant")),
        request_class=rng.choice(CLASSES),
    )


class Soak:
    """The members, those who wait for an answer, and what has happened so far."""

    def __init__(
        self,
        members: tuple[Member, Member],
        known: Sequence[tuple[Request, Answer | None]],
        beginnings: Sequence[tuple[int, ...]],
        *,
        seed: int,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._members = members
        self._known = known
        self._beginnings = beginnings
        self._rng = random.Random(seed)
        self._clients: dict[Place, Client] = {}
        self._journeys: list[Journey] = []
        self._turns = 0

    def turn(self) -> None:
        """One step of each member, and what the world does to them meanwhile."""
        rng = self._rng
        self._turns += 1
        is_high_tide = self._turns // TIDE_TURNS % 2
        for member in self._members:
            if rng.random() < (0.25 if is_high_tide else 0.05):
                for _ in range(rng.choice((1, 1, 4))):
                    self._submit(member)
            if rng.random() < 0.2:
                self._begin_journey(member)
            self._step(member, partial(self._disturb, member))
        for journey in tuple(self._journeys):
            self._advance(journey)

    def end(self) -> None:
        """Nobody new comes and nobody leaves; everybody gets his answer."""
        for journey in self._journeys:
            journey.give_up()
        self._journeys.clear()
        for _ in range(STEPS_TO_END_MAX):
            if all(member.engine.is_idle for member in self._members):
                break
            for member in self._members:
                self._step(member, lambda: None)
        assert not self._clients, f"{len(self._clients)} were never answered"
        for member in self._members:
            member.check_empty()

    def _step(self, member: Member, meanwhile: Callable[[], None]) -> None:
        for delta in member.step(meanwhile):
            place = Place(member, delta.request_id)
            client = self._clients[place]
            client.hear(place, delta)
            if place not in client.places.values():
                del self._clients[place]
            if client.is_answered:
                self.counts["answered"] += 1
                self.counts["compared"] += client.expected is not None

    def _disturb(self, member: Member) -> None:
        """Somebody comes or loses patience now and then, whatever is being computed."""
        if self._rng.random() < 0.01:
            self._submit(member)
        if self._clients and self._rng.random() < 0.02:
            place = self._rng.choice(list(self._clients))
            client = self._clients[place]
            for each in set(client.places.values()):
                assert each.member.engine.cancel(each.request_id), "cancelled, and not there"
                del self._clients[each]
            self.counts["cancelled"] += 1

    def _submit(self, member: Member) -> None:
        self.counts["asked"] += 1
        name = f"r{self.counts['asked']}"
        expected: Answer | None = None
        if self._rng.random() < 0.5:
            known, expected = self._rng.choice(self._known)
            request = replace(known, request_id=RequestId(name))
        else:
            request = draw_request(self._rng, name, self._beginnings)
        if member.engine.submit(request) is not None:
            self.counts["refused"] += 1
            return
        place = Place(member, request.request_id)
        places = dict.fromkeys(range(request.choices), place)
        self._clients[place] = Client(request, expected, places)

    def _begin_journey(self, source: Member) -> None:
        target = self._members[source is self._members[0]]
        here = [place for place in self._clients if place.member is source]
        if not here:
            return
        place = self._rng.choice(here)
        choice = self._rng.choice(sorted(self._choices_at(place)))
        export = source.engine.export(place.request_id, choice)
        if export is None:
            return
        moved = replace(export.request(), request_id=RequestId(f"{place.request_id}/{choice}"))
        arrival = target.engine.reserve(moved, export.computed)
        if isinstance(arrival, Refusal):
            export.abandon()
            self.counts["no room"] += 1
            return
        self._journeys.append(Journey(source, target, export, arrival, arrival.held))

    def _advance(self, journey: Journey) -> None:
        """Often it arrives, seldom it is given up; else some more of it is copied."""
        drawn = self._rng.random()
        if not journey.is_broken and drawn < 0.3 and self._arrive(journey):
            self.counts["moved"] += 1
        elif journey.is_broken or drawn > 0.95 or drawn < 0.3 or not journey.copy():
            journey.give_up()
            self.counts["stayed"] += 1
        else:
            return
        self._journeys.remove(journey)

    def _arrive(self, journey: Journey) -> bool:
        request = journey.export.request()
        choice, source = request.first_choice, Place(journey.source, request.request_id)
        if not journey.arrive():
            return False
        client = self._clients[source]
        target = Place(journey.target, RequestId(f"{request.request_id}/{choice}"))
        assert target not in self._clients, "two sequences of one name"
        client.places[choice] = target
        self._clients[target] = client
        if source not in client.places.values():
            del self._clients[source]
        return True

    def _choices_at(self, place: Place) -> list[int]:
        places = self._clients[place].places
        return [choice for choice, each in places.items() if each == place]
