"""Conditions that several faults may cause at once, and that end with the last of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable


class Holds:
    """Counts who wants a condition; the first one brings it about, the last one ends it."""

    def __init__(self) -> None:
        self._wanted: Counter[Hashable] = Counter()

    def begin(self, what: Hashable, bring_about: Callable[[], object]) -> None:
        self._wanted[what] += 1
        if self._wanted[what] == 1:
            bring_about()

    def end(self, what: Hashable, undo: Callable[[], object]) -> None:
        self._wanted[what] -= 1
        if not self._wanted[what]:
            del self._wanted[what]
            undo()

    def wants(self, what: Hashable) -> bool:
        """Whether anybody does."""
        return what in self._wanted
