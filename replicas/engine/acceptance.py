"""What a row with guesses yields: the same for whoever computes it.

Behind each of its last `guesses + 1` tokens a token is chosen, as if the guesses
before it had been said. It counts as long as they were right: the chosen tokens
up to the first that was not guessed. So one is gained at least, as without guesses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import overload

from protos.messages import SampledToken
from replicas.engine.plan import Row, Sample


class Said(Sequence[int]):
    """An output and guesses behind it, as one. A view: most choices ask for its length only."""

    def __init__(self, output: Sequence[int], guesses: Sequence[int]) -> None:
        self._parts = (output, guesses)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[int]:
        return chain(*self._parts)

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...

    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return tuple(self)[index]
        output, guesses = self._parts
        place = range(len(self))[index]
        return output[place] if place < len(output) else guesses[place - len(output)]


def samples_along(row: Row) -> Iterator[tuple[Sample, ...]]:
    """What to choose behind which of its last `guesses + 1` tokens; of other rows, the last."""
    if not row.guesses:
        yield row.samples
        return
    (sample,) = row.samples
    for right in range(row.guesses + 1):
        yield (replace(sample, output=Said(sample.output, row.guessed[:right])),)


def accepted(row: Row, chosen: Iterable[SampledToken]) -> tuple[SampledToken, ...]:
    """Of what is chosen along a row with guesses, what counts; the rest is not asked for."""
    counting: list[SampledToken] = []
    for guess, token in zip((*row.guessed, None), chosen, strict=False):
        counting.append(token)
        if token.token != guess:
            break
    return tuple(counting)


def is_outcome(row: Row, sampled: tuple[SampledToken, ...], steps: int) -> bool:
    """Whether these can be the tokens that a row got in so many steps."""
    if not row.guesses:
        return len(sampled) == steps * len(row.samples)
    right = tuple([each.token for each in sampled[:-1]])
    return bool(sampled) and right == row.guessed[: len(right)]
