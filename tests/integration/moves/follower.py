"""A gateway that follows each choice wherever it goes, and checks every token on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from grpc import aio

from protos.messages import (
    Delta,
    FinishReason,
    Handoff,
    RefusalReason,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    StepEvents,
)
from tests.integration.moves.members import Ordered
from tests.integration.replica.gateway import Gateway
from tests.unit.shell.eventually import eventually


@dataclass(slots=True)
class Told:
    """One choice, as its client was told."""

    request: Request
    follows: ReplicaId | None
    said: list[SampledToken] = field(default_factory=list)
    finish: FinishReason | None = None
    adoptions: int = 0

    @property
    def tokens(self) -> tuple[int, ...]:
        return tuple(sampled.token for sampled in self.said)


class Follower:
    """One gateway with a link to each of some members."""

    def __init__(self) -> None:
        self._links: dict[ReplicaId, Gateway] = {}
        self._told: dict[tuple[RequestId, int], Told] = {}
        self.failures: list[BaseException] = []
        self.mortal: ReplicaId | None = None  # the one whose death is no failure
        self._is_leaving = False

    def told(self, request: Request, choice: int = 0) -> Told:
        return self._told[request.request_id, choice]

    async def submit(self, request: Request, to: Ordered) -> None:
        for choice in range(request.first_choice, request.first_choice + request.choices):
            known = self._told.get((request.request_id, choice))
            if known is None:
                self._told[request.request_id, choice] = Told(request, to.peer.replica_id)
            else:
                known.follows = to.peer.replica_id
        await self._links[to.peer.replica_id].submit(request)

    async def resume(self, told: Told, at: Ordered) -> None:
        """Go on from what was delivered, as if its replica were lost."""
        await self.submit(replace(told.request, output=told.tokens), at)

    async def cancel(self, request: Request) -> None:
        told = self.told(request)
        assert told.follows is not None
        await self._links[told.follows].cancel(request.request_id)

    async def has_said(self, request: Request, tokens: int, choice: int = 0) -> None:
        told = self.told(request, choice)
        await self.until(lambda: len(told.said) >= tokens, f"{tokens} tokens of choice {choice}")

    async def finished(self, request: Request) -> list[Told]:
        choices = [self.told(request, choice) for choice in range(request.choices)]
        await self.until(
            lambda: all(told.finish is not None for told in choices), "all have finished"
        )
        return choices

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await eventually(lambda: bool(self.failures) or condition(), what)
        assert not self.failures, self.failures

    @asynccontextmanager
    async def attached(self, *members: Ordered) -> AsyncIterator[Follower]:
        """Links to all of these, read as long as the block lasts."""
        channels = [aio.insecure_channel(each.peer.address) for each in members]
        readers = []
        for each, channel in zip(members, channels, strict=True):
            link = self._links[each.peer.replica_id] = Gateway(channel)
            readers.append(asyncio.create_task(self._read(each.peer.replica_id, link)))
        try:
            yield self
        finally:
            self._is_leaving = True
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            for channel in channels:
                await channel.close()

    async def _read(self, name: ReplicaId, link: Gateway) -> None:
        try:
            # A flag, too: on 3.11 the wait in `read` may swallow a cancellation.
            while not self._is_leaving:
                await self._take(name, await link.read())
        except (StopAsyncIteration, aio.AioRpcError) as failure:
            if name != self.mortal:
                self.failures.append(failure)
            self._lose(name)
        except (AssertionError, KeyError) as failure:
            self.failures.append(failure)

    def _lose(self, name: ReplicaId) -> None:
        for told in self._told.values():
            if told.follows == name:
                told.follows = None

    async def _take(self, name: ReplicaId, events: StepEvents) -> None:
        for delta in events.deltas:
            self._take_delta(name, delta)
        for handoff in events.handoffs:
            await self._take_handoff(name, handoff)
        for refusal in events.refusals:
            assert refusal.reason is RefusalReason.GONE, refusal
            self._told[refusal.request_id, refusal.choice].follows = None

    def _take_delta(self, name: ReplicaId, delta: Delta) -> None:
        told = self._told[delta.request_id, delta.choice]
        assert told.follows == name, f"a token from {name}, who is not followed"
        assert delta.first_index == len(told.said), "a token is missing or came twice"
        assert told.finish is None, "it has finished before"
        told.said.extend(delta.tokens)
        told.finish = delta.finish

    async def _take_handoff(self, name: ReplicaId, handoff: Handoff) -> None:
        for choice in range(handoff.choice, handoff.choice + handoff.choices):
            told = self._told[handoff.request_id, choice]
            assert told.follows == name, f"{name} gives away what it has not"
            told.follows = handoff.target
            if handoff.target is not None:
                told.adoptions += 1
                await self._adopt(handoff.target, told, choice)

    async def _adopt(self, target: ReplicaId, told: Told, choice: int) -> None:
        link = self._links[target]
        try:
            await link.adopt(told.request, choice=choice, next_index=len(told.said))
        except (aio.AioRpcError, asyncio.InvalidStateError):
            assert target == self.mortal, f"{target} cannot be reached"
            told.follows = None
