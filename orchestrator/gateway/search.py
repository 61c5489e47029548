"""Find the replica at which a choice waits for a gateway, after it has lost its own.

Nobody keeps a list of what waits where: every replica that can be reached is
asked at once, and the one that has it answers with all it has said. A replica
may hear of the lost gateway a little later than the client did, and a choice
may be between two replicas, so the round is repeated a few times.

Bounds: claims on their way, rounds, and the time for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from orchestrator.control.seams import Clock, ReplicaClient, ReplicaLost, ReplicaRefused
from orchestrator.gateway.fleet import Fleet
from protos.messages import Delta, Handoff, Request
from protos.registry import Member


@dataclass(frozen=True, slots=True)
class SearchConfig:
    timeout_s: float = 1.0
    rounds_max: int = 4
    pause_s: float = 0.1  # between rounds: a broken stream is noticed within it
    claims_max: int = 256  # at once, of all requests


@dataclass(frozen=True, slots=True)
class Found:
    """A choice and its replica. Whoever was given it closes the source."""

    member: Member
    first: Delta | Handoff
    source: AsyncGenerator[Delta | Handoff, None]


class Search:
    """Over the fleet of one gateway."""

    def __init__(self, fleet: Fleet, clock: Clock, config: SearchConfig) -> None:
        self._fleet = fleet
        self._clock = clock
        self._config = config
        self._claims = asyncio.Semaphore(config.claims_max)

    async def find(self, request: Request, choice: int) -> Found | None:
        """Adopt the choice from its first token on, wherever it is; None if nobody has it."""
        answers: list[Found] = []
        found: Found | None = None
        try:
            try:
                async with asyncio.timeout(self._config.timeout_s):
                    await self._ask_in_rounds(request, choice, answers)
            except TimeoutError:
                pass
            found = answers[0] if answers else None
            return found
        finally:
            for answer in answers:
                if answer is not found:
                    await answer.source.aclose()

    async def _ask_in_rounds(self, request: Request, choice: int, answers: list[Found]) -> None:
        for number in range(self._config.rounds_max):
            if number > 0:
                await self._clock.sleep(self._config.pause_s)
            await self._ask_all(request, choice, answers)
            if answers:
                return

    async def _ask_all(self, request: Request, choice: int, answers: list[Found]) -> None:
        """Returns with the first answer, or when all have none."""
        asking = {
            asyncio.create_task(self._ask(member, link, request, choice, answers))
            for member, link in self._fleet.links()
        }
        try:
            while asking and not answers:
                done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(
        self,
        member: Member,
        link: ReplicaClient,
        request: Request,
        choice: int,
        answers: list[Found],
    ) -> None:
        async with self._claims:
            source = link.adopt(request, choice=choice, next_index=0)
            try:
                first = await anext(source)
            except (ReplicaRefused, ReplicaLost, StopAsyncIteration):
                return
        answers.append(Found(member, first, source))
