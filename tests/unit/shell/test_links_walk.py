"""Gateways that come, go, claim and cancel at random, while sequences move and steps run.

Method: a walk over one replica with a shadow that knows, for each choice, who
follows it and what it was told. Every choice must get exactly the tokens of
counting, whoever tells them; at the end nothing may be left in the engine.
Breaking the exit of a choice that was given up before it forked, or telling a
claimant from the wrong index, is found by some seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest

from protos.identity import request_digest
from protos.messages import ReplicaId, Request, StepEvents
from protos.moves import Claim
from replicas.shell.link import GatewayLink
from tests.unit.shell.counting import answer, counted, request
from tests.unit.shell.desk import Desk, unread

STEPS = 120


@dataclass
class Choice:
    """What its client knows of one choice."""

    asked: Request
    number: int
    link: GatewayLink | None
    told: list[int] = field(default_factory=list)
    is_over: bool = False  # finished, cancelled or given away


class Walk:
    """One replica, its gateways, and what they should know."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.desk = Desk()
        self.links: list[GatewayLink] = []
        self.choices: list[Choice] = []

    def run(self) -> None:
        actions = (self.attach, self.submit, self.detach, self.claim, self.cancel, self.give)
        for _ in range(STEPS):
            action = self.random.choice(actions)
            if self.random.random() < 0.4:
                plan = self.desk.engine.schedule()
                action()  # while the step runs
                if plan is not None:
                    self.desk.links.deliver(self.desk.engine.apply(counted(plan)))
            else:
                action()
            self.desk.engine.check()
            reported = self.desk.links.sequences(10_000)
            assert len(reported) == len(self.desk.engine.sequences()), "nobody's sequence"
            self.read()
        self.end()

    def end(self) -> None:
        self.desk.finish()
        self.read()
        assert all(choice.is_over for choice in self.choices if choice.link is not None)
        self.attach()
        for choice in self.waiting():
            self.adopt(choice, self.links[-1])
        self.desk.finish()
        self.read()
        assert all(choice.is_over for choice in self.choices)
        assert self.desk.engine.is_idle
        assert self.desk.blocks_used == 0
        assert not any(link.tickets() for link in self.links)

    def waiting(self) -> list[Choice]:
        return [choice for choice in self.choices if choice.link is None and not choice.is_over]

    def attach(self) -> None:
        if len(self.links) < 3:
            self.links.append(self.desk.links.attach())

    def submit(self) -> None:
        if self.links and len([c for c in self.choices if not c.is_over]) < 12:
            link, choices = self.random.choice(self.links), self.random.randint(1, 3)
            name = f"r{len(self.choices)}"
            asked = request(name, choices=choices, tokens_max=self.random.randint(2, 12))
            self.desk.links.submit(link, asked)
            self.choices += [Choice(asked, number, link) for number in range(choices)]

    def detach(self) -> None:
        if self.links and self.random.random() < 0.5:
            self.read()
            link = self.links.pop(self.random.randrange(len(self.links)))
            self.desk.links.detach(link, park=True)
            for choice in self.choices:
                if choice.link is link:
                    choice.link = None

    def claim(self) -> None:
        if self.links and self.waiting():
            self.adopt(self.random.choice(self.waiting()), self.random.choice(self.links))

    def adopt(self, choice: Choice, link: GatewayLink) -> None:
        asked = choice.asked
        digest = request_digest(asked)
        known = self.random.randint(0, len(choice.told))
        del choice.told[known:]
        choice.link = link
        self.desk.links.adopt(link, Claim(asked.request_id, choice.number, digest, known))

    def cancel(self) -> None:
        followed = [choice for choice in self.choices if choice.link is not None]
        if followed:
            one = self.random.choice(followed)
            assert one.link is not None
            self.read()
            self.desk.links.cancel(one.link, one.asked.request_id, one.number)
            for choice in self.choices:
                if choice.asked is one.asked and choice.link is one.link:
                    alive = one.link.ticket(one.asked.request_id, choice.number)
                    choice.is_over = choice.is_over or alive is None

    def give(self) -> None:
        """To another replica, or back."""
        if self.desk.engine.sequences() and self.random.random() < 0.3:
            report = self.random.choice(self.desk.engine.sequences())
            withdrawn = self.desk.engine.withdraw(report.request_id, report.choice)
            assert withdrawn is not None
            client_id = self.desk.links.client_id(report.sequence_id)
            target = self.random.choice((None, ReplicaId("r-1")))
            self.desk.links.give(report.sequence_id, target, choices=withdrawn[1])
            for choice in self.choices:
                given = range(withdrawn[0], sum(withdrawn))
                is_given = choice.asked.request_id == client_id and choice.number in given
                if is_given and choice.link is None:
                    choice.is_over = True  # nobody is told

    def read(self) -> None:
        for link in self.links:
            for events in unread(link):
                self.take_in(link, events)

    def take_in(self, link: GatewayLink, events: StepEvents) -> None:
        assert not events.refusals
        for delta in events.deltas:
            choice = self.of(link, delta.request_id, delta.choice)
            assert delta.first_index == len(choice.told)
            choice.told += [token.token for token in delta.tokens]
            assert choice.told == answer(choice.asked)[: len(choice.told)]
            if delta.finish is not None:
                assert choice.told == answer(choice.asked)
                choice.is_over = True
        for handoff in events.handoffs:
            for number in range(handoff.choice, handoff.choice + handoff.choices):
                self.of(link, handoff.request_id, number).is_over = True

    def of(self, link: GatewayLink, request_id: str, number: int) -> Choice:
        (choice,) = (
            each
            for each in self.choices
            if (each.link, each.asked.request_id, each.number) == (link, request_id, number)
        )
        assert not choice.is_over, "told after its end"
        return choice


@pytest.mark.parametrize("seed", range(25))
async def test_every_choice_gets_its_tokens_once_whoever_follows_it(seed: int) -> None:
    Walk(seed).run()
