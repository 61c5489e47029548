"""What each body says when nothing disturbs it, asked once and remembered.

On a GPU a batch of another size may round differently and so choose another
token. Every body is therefore asked alone, and again in company. A body whose
answers differ, or that is refused even in peace, proves nothing about a
disturbed run: it is left out of the comparison and counted, never silently.
Poison is asked of nobody in peace, and has no reference either.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from orchestrator.live.chaos.bodies import Body, is_poison, plain
from orchestrator.load.ask import Ask, Clock
from orchestrator.load.stream import listen
from orchestrator.load.wire import Access
from orchestrator.workload.heard import End, Heard

Said = tuple[str, ...]  # of each choice
Hear = Callable[[Ask], Awaitable[Heard]]
COMPANY = 4  # few enough to disturb nobody, enough to be batched together
ALONE_AND_IN_COMPANY = (1, COMPANY)
CALM_DEADLINE_S = 300.0


class References:
    """Answers by body; bounded by the catalogue that bodies come from."""

    def __init__(self, rounds: Sequence[int] = ALONE_AND_IN_COMPANY) -> None:
        """In each round every body is asked once, so many at a time."""
        self._rounds = rounds
        self._said: dict[str, Said | None] = {}  # None: not repeatable

    async def learn(self, asks: Sequence[Ask], hear: Hear) -> int:
        """Ask what is not known yet, of a cluster at rest; how many bodies that were."""
        unknown = self._unknown(asks)
        rounds = [await _said_by(list(unknown.values()), hear, size) for size in self._rounds]
        for key, answers in zip(unknown, zip(*rounds, strict=True), strict=True):
            self._said[key] = answers[0] if len(set(answers)) == 1 else None
        return len(unknown)

    def expected(self, asks: Sequence[Ask]) -> Mapping[int, Said]:
        """What each request must say, by its number; absent where even peace does not repeat it."""
        known = ((ask.number, self._said.get(key_of(ask.body))) for ask in asks)
        return {number: said for number, said in known if said is not None}

    def unrepeatable(self, asks: Sequence[Ask]) -> int:
        """How many different bodies of these prove nothing."""
        asked = {key_of(ask.body) for ask in asks}
        return sum(key in self._said and self._said[key] is None for key in asked)

    def _unknown(self, asks: Sequence[Ask]) -> dict[str, Ask]:
        """One calm ask for each body that nobody asked so far."""
        found: dict[str, Ask] = {}
        for ask in asks:
            key = key_of(ask.body)
            if key not in self._said and key not in found and not is_poison(ask.body):
                found[key] = calm(ask, len(found))
        return found


def key_of(body: Body) -> str:
    return json.dumps(plain(body), sort_keys=True)


def calm(ask: Ask, number: int) -> Ask:
    """The same body from a patient client that has no cache to itself."""
    return replace(
        ask,
        number=number,
        due_s=0.0,
        body=plain(ask.body),
        deadline_s=CALM_DEADLINE_S,
        leaves_after_s=None,
        reads_per_s=None,
    )


def hearing_at(urls: Sequence[str], clock: Clock, access: Access | None = None) -> Hear:
    """Asks at once, and takes what the first connection tells."""

    async def hear(ask: Ask) -> Heard:
        calm = replace(ask, due_s=clock())
        return await listen(urls, calm, clock, resume=False, access=access)

    return hear


async def _said_by(asks: Sequence[Ask], hear: Hear, company: int) -> list[Said | None]:
    """What each says, so many at a time; None for no full answer."""
    gate = asyncio.Semaphore(company)

    async def said(ask: Ask) -> Said | None:
        async with gate:
            heard = await hear(ask)
        return heard.said if heard.end is End.ANSWERED else None

    return await asyncio.gather(*map(said, asks))
