"""Guess what a sequence says next: what followed when the same stood in it before.

Prompt lookup (Saxena, 2023): text that is quoted, edited or repeated needs no
second model to foretell it. The last tokens are looked for in all that was
before them; the longest of `LENGTHS` that is found counts, and of its
occurrences the latest. Where what followed runs into the end, it goes on in
circles, as a text with a period does.

A wrong guess costs its share of a step, so how many are made follows how many
came true lately: twice as many when all were right, otherwise as many as were
right or half of what it was. Where guesses are almost free a fixed number would be
a little better; this is not worse than none where one costs half a decode.

Tokens are kept as the characters of a string, which Python searches in some
microseconds and keeps in at most four bytes each. The same tokens and the same
verdicts give the same guesses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Of the last tokens, how many must have stood there before; the shortest first. From 2 on: more
# guesses, of which fewer come true (tests/benchmarks/LOG.md).
LENGTHS: Final = (3, 4, 6)
FIRST = 4  # guesses of a sequence of which nothing is known
TOKEN_MAX = 0x10FFFF  # of what a string can hold


class Lookup:
    """The tokens of one sequence, and how well its last guesses did."""

    def __init__(self) -> None:
        self._text = ""
        self._trusted = FIRST

    @property
    def length(self) -> int:
        """Tokens that it knows."""
        return len(self._text)

    def extend(self, tokens: Iterable[int]) -> None:
        """These follow."""
        self._text += "".join(map(chr, tokens))

    def guesses(self, limit: int) -> tuple[int, ...]:
        """What follows next, at most `limit` tokens; nothing where there is no sign of it."""
        count = min(limit, self._trusted)
        followed = self._followed(count)
        if not followed:
            return ()
        circles = -(-count // len(followed))
        return tuple(map(ord, (followed * circles)[:count]))

    def learn(self, guessed: int, accepted: int) -> None:
        """So many of the guesses that were made came true."""
        if accepted < guessed:
            self._trusted = max(1, accepted, self._trusted // 2)
        else:
            self._trusted = max(self._trusted, 2 * guessed)

    def _followed(self, count: int) -> str:
        """What stands behind the best occurrence, up to so many tokens or the end."""
        text, place = self._text, 0
        for length in LENGTHS:
            # Without the last token, or it would find itself.
            found = text.rfind(text[-length:], 0, -1)
            if found < 0:
                break
            place = found + length
        return text[place : place + count] if place else ""
