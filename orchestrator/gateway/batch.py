"""Several prompts of one call, as if they were one generation.

Each prompt is a request of its own, in a task of its own; their pieces meet
in one bounded queue. Choices are numbered through: choice c of prompt p is
`p * n + c`. The first failure ends them all, as OpenAI's API has one answer
for all prompts of a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from orchestrator.gateway.ask import Ask
from orchestrator.gateway.choice import Piece
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.generation import Generation
from orchestrator.gateway.meter import Meter
from orchestrator.gateway.service import Gateway
from protos.messages import ModelCard

# Pieces ahead of the client, for all prompts together.
PIECES_MAX = 256


@asynccontextmanager
async def run_all(
    gateway: Gateway, asks: Sequence[Ask], *, arrived_ns: int, meter: Meter
) -> AsyncIterator[Batch]:
    """Like Gateway.run for each of them; enters when every prompt has its first token."""
    batch = Batch(len(asks), choices_each=asks[0].options.n)
    try:
        async with asyncio.TaskGroup() as group:
            for place, ask in enumerate(asks):
                group.create_task(batch.follow(place, gateway, ask, arrived_ns, meter))
            await batch.wait_until_started()
            yield batch
    except* GatewayError as failures:
        failure = failures.exceptions[0]
    else:
        return
    raise failure


class Batch:
    """Iterate once, within `run_all`."""

    def __init__(self, prompts: int, *, choices_each: int) -> None:
        self._generations: list[Generation] = []
        self._prompts = prompts
        self._started = asyncio.Event()
        self._unfinished = prompts * choices_each
        self._choices_each = choices_each
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue(PIECES_MAX)

    @property
    def card(self) -> ModelCard:
        return self._generations[0].card

    @property
    def prompt_tokens(self) -> int:
        return sum(generation.prompt_tokens for generation in self._generations)

    @property
    def completion_tokens(self) -> int:
        return sum(generation.completion_tokens for generation in self._generations)

    @property
    def hit_tokens(self) -> int:
        return sum(generation.hit_tokens for generation in self._generations)

    @property
    def attempts(self) -> int:
        return sum(generation.attempts for generation in self._generations)

    @property
    def replica_id(self) -> str:
        """All replicas that work on it."""
        return ",".join(sorted({generation.replica_id for generation in self._generations}))

    async def wait_until_started(self) -> None:
        await self._started.wait()

    async def follow(
        self, place: int, gateway: Gateway, ask: Ask, arrived_ns: int, meter: Meter
    ) -> None:
        """Run one of the prompts to its end."""
        async with gateway.run(ask, arrived_ns=arrived_ns, meter=meter) as generation:
            self._generations.append(generation)
            if len(self._generations) == self._prompts:
                self._started.set()
            async for piece in generation:
                choice = place * self._choices_each + piece.choice
                await self._pieces.put(piece._replace(choice=choice))

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Pieces of all choices of all prompts, as they come."""
        while self._unfinished:
            piece = await self._pieces.get()
            if piece.finish is not None:
                self._unfinished -= 1
            yield piece
