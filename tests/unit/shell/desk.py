"""Links over an engine, and a hand that steps it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from protos.messages import FinishReason, ReplicaId, Request, StepEvents
from replicas.config import ReplicaConfig
from replicas.engine.engine import Engine
from replicas.shell.link import GatewayLink
from replicas.shell.links import Links
from replicas.shell.pace import Pace
from replicas.shell.reporter import Reporter
from tests.unit.shell.counting import CONFIG, counted, engine


class Desk:
    """One replica's links, without a loop that turns."""

    def __init__(self, config: ReplicaConfig = CONFIG) -> None:
        self.engine: Engine = engine()
        self.work = asyncio.Event()
        reporter = Reporter(self.engine, ReplicaId("r-0"), Pace())
        self.links = Links(self.engine, reporter, self.work, config)

    def step(self) -> bool:
        plan = self.engine.schedule()
        if plan is not None:
            self.links.begin(self.engine.marks)
            self.links.deliver(self.engine.apply(counted(plan)))
            self.engine.check()
        return plan is not None

    def finish(self) -> None:
        while self.step():
            pass

    @property
    def blocks_used(self) -> int:
        return self.links.news().snapshot.blocks_used


async def drain(link: GatewayLink) -> list[StepEvents]:
    """Everything in the outbox; nothing can follow it."""
    link.finish()
    events = []
    while (message := await link.get()) is not None:
        events.append(message)
    return events


def unread(link: GatewayLink) -> Iterator[StepEvents]:
    """What is in the outbox now, without waiting for more."""
    while True:
        reading = link.get()
        try:
            reading.send(None)
        except StopIteration as read:
            yield read.value
        else:  # it waits
            reading.close()
            return


def tokens_of(
    events: list[StepEvents], asked: Request, choice: int = 0, *, first_index: int = 0
) -> list[int]:
    """The tokens of one choice to its end, after checking that none is missing or doubled."""
    deltas = [
        delta
        for message in events
        for delta in message.deltas
        if (delta.request_id, delta.choice) == (asked.request_id, choice)
    ]
    tokens: list[int] = []
    for delta in deltas:
        assert delta.first_index == first_index + len(tokens)
        tokens += [token.token for token in delta.tokens]
    assert [delta.finish for delta in deltas if delta.finish] == [FinishReason.LENGTH]
    return tokens
