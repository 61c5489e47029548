"""End a text at the first stop string, without ever showing part of one.

The first stop string is the one that is complete first; of several complete
at the same character, the longest. Text that may still turn out to be the
beginning of one is held back. Both are decided character by character (one
Knuth-Morris-Pratt automaton for each string), so the outcome does not depend
on how the text was cut into tokens and deltas, and a character costs constant
time however long the strings are.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Follows the text of one choice. Nothing may be fed after a stop was met."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._automata = [_Automaton(stop) for stop in stops]
        self._held = ""
        self.met = False

    @property
    def is_looking(self) -> bool:
        """Whether there is any string to stop at."""
        return bool(self._automata)

    def feed(self, text: str) -> str:
        """Text that is now certain to be shown. Sets `met` when a stop string is complete."""
        assert not self.met, "text after a stop string"
        if not self._automata:
            return text
        pending = self._held + text
        for place, character in enumerate(text, start=len(self._held) + 1):
            # A list, not a generator: every automaton has to see the character.
            stopped = [stop.length for stop in self._automata if stop.advance(character)]
            if stopped:
                self.met = True
                self._held = ""
                return pending[: place - max(stopped)]
        shown = len(pending) - max(stop.matched for stop in self._automata)
        self._held = pending[shown:]
        return pending[:shown]

    def flush(self) -> str:
        """The held-back text, once it is clear that nothing follows."""
        held, self._held = self._held, ""
        return held


class _Automaton:
    """How much of one stop string the text ends with."""

    def __init__(self, stop: str) -> None:
        self._stop = stop
        self._fallback = _fallbacks(stop)
        self.length = len(stop)
        self.matched = 0

    def advance(self, character: str) -> bool:
        """Whether this character completes the stop string."""
        while self.matched and self._stop[self.matched] != character:
            self.matched = self._fallback[self.matched - 1]
        if self._stop[self.matched] == character:
            self.matched += 1
        return self.matched == self.length


def _fallbacks(stop: str) -> list[int]:
    """For every prefix: the length of its longest proper prefix that is also its suffix."""
    fallbacks = [0]
    length = 0
    for character in stop[1:]:
        while length and stop[length] != character:
            length = fallbacks[length - 1]
        if stop[length] == character:
            length += 1
        fallbacks.append(length)
    return fallbacks
