"""How many prompt tokens wait at a replica now, where its reports are known to be old.

Dead reckoning: from the last moment at which the queue was known it grew by
every placement since, this gateway's and those that others announced, and
shrank by what the replica computes in the time; never below nothing. Two
things tell the queue of a moment:

- a report, of the moment at which it was made;
- the first token of a request of ours, of the moment at which it came: who
  was placed there before it has been served, so what waits was placed after.

The second one is news at once, however late reports are.

Bound: placements of as long as a report may be late.
"""

from __future__ import annotations

from collections import deque

from orchestrator.control.report_lag import LAG_NS_MAX

NS_PER_S = 1_000_000_000


class Reckoning:
    """Of one replica. Times are of one clock, and never go back."""

    def __init__(self) -> None:
        self._placed: deque[tuple[int, int]] = deque()  # when, tokens
        self._known_ns = 0
        self._known_tokens = 0

    def place(self, tokens: int, now_ns: int) -> None:
        """A prompt with so much to compute was sent there."""
        self._placed.append((now_ns, tokens))
        while self._placed[0][0] < now_ns - LAG_NS_MAX:
            self._placed.popleft()

    def begin(self, placed_ns: int, now_ns: int) -> None:
        """What was placed then has its first token now."""
        self._know(sum(tokens for at_ns, tokens in self._placed if at_ns > placed_ns), now_ns)

    def report(self, tokens: int, now_ns: int, lag_ns: int) -> None:
        """A report has arrived, so late, that says how much waited when it was made."""
        made_ns = now_ns - lag_ns
        if made_ns > self._known_ns:
            self._know(tokens, made_ns)

    def tokens_ahead(self, tokens_per_s: float, now_ns: int) -> int:
        """By all that is known, at this rate."""
        ahead, at_ns = float(self._known_tokens), self._known_ns
        for placed_ns, tokens in self._placed:
            if placed_ns > self._known_ns:
                ahead = max(0.0, ahead - (placed_ns - at_ns) / NS_PER_S * tokens_per_s) + tokens
                at_ns = placed_ns
        return round(max(0.0, ahead - (now_ns - at_ns) / NS_PER_S * tokens_per_s))

    def prompts_ahead(self, tokens_ahead: int) -> int:
        """How many prompts so many tokens belong to: the last ones that were placed."""
        prompts = 0
        for _, tokens in reversed(self._placed):
            if tokens_ahead <= 0:
                break
            tokens_ahead -= tokens
            prompts += 1
        return prompts

    def _know(self, tokens: int, at_ns: int) -> None:
        self._known_tokens, self._known_ns = tokens, at_ns
