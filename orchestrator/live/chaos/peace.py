"""What requests say when nothing goes wrong, learned on two cores in bearable time.

All bodies are asked once, several at a time. That company changes no token is
checked for each kind of work with the body that is over soonest, asked again
and alone; a kind that fails is not comparable, and its requests are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.live.chaos.bodies import is_poison
from orchestrator.live.chaos.references import Hear, References, Said, calm
from orchestrator.load.ask import Ask

AT_A_TIME = 8


class Peace:
    """Remembers what it learned for as long as it lives."""

    def __init__(self) -> None:
        self._references = References(rounds=(AT_A_TIME,))
        self._repeats: dict[str, bool] = {}  # by kind of work

    async def learn(self, asks: Sequence[Ask], hear: Hear) -> int:
        """Ask what is not known yet, of a cluster at rest; how many bodies that were."""
        learned = await self._references.learn(asks, hear)
        for tag in sorted({ask.tag for ask in asks} - set(self._repeats)):
            mild = [ask for ask in asks if ask.tag == tag and not is_poison(ask.body)]
            if mild:
                shortest = min(mild, key=lambda ask: int(ask.body["max_tokens"]))
                said = self._references.expected([shortest]).get(shortest.number)
                self._repeats[tag] = (await hear(calm(shortest, 0))).said == said
        return learned

    def expected(self, asks: Sequence[Ask]) -> Mapping[int, Said]:
        """By number; absent where even peace does not repeat it."""
        return self._references.expected([ask for ask in asks if self._repeats.get(ask.tag)])
