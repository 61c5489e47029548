"""What requests to a real model are made of: tokens of its vocabulary, drawn by the seed.

No language: memory does not care, and a model computes for any tokens what it
computes for words.
"""

from __future__ import annotations

from random import Random

from orchestrator.workload.traffic import Arrival


class Drawn:
    """The wording of one run. A request's own tokens depend on its number and the seed alone."""

    def __init__(self, *, vocab_size: int, prefix_tokens: int, seed: int) -> None:
        self.vocab_size = vocab_size
        self._seed = seed
        self.prefix = self._draw("prefix", prefix_tokens)

    def own(self, arrival: Arrival, tokens: int) -> tuple[int, ...]:
        return self._draw(f"own {arrival.number}", tokens)

    def _draw(self, name: str, tokens: int) -> tuple[int, ...]:
        random = Random(f"{self._seed} {name}")
        return tuple(random.choices(range(self.vocab_size), k=tokens))
