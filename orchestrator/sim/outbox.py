"""What a replica has to tell one gateway, one message a step.

A token on its own costs the simulator more than the whole step it came from,
and nobody watches tokens in the middle of an answer. So the first delta of a
choice leaves at once, later ones are held, and the last one takes them all
along. Held deltas are joined only where they continue one another: a token
that is lost or repeated before it gets here still shows at the other end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise

from protos.messages import Delta, RequestId


class Outbox:
    """Deltas of one gateway's requests, on their way out."""

    def __init__(self) -> None:
        self._held: dict[tuple[RequestId, int], list[Delta]] = {}
        self._due: list[Delta] = []

    def add(self, delta: Delta) -> None:
        """Hold the delta, unless it begins or ends its choice."""
        key = delta.request_id, delta.choice
        if delta.finish is not None:
            self._due.extend(joined([*self._held.pop(key, ()), delta]))
        elif delta.first_index == 0:
            self._due.append(delta)
        else:
            self._held.setdefault(key, []).append(delta)

    def drop(self, request_id: RequestId) -> None:
        """The request was cancelled: nothing more of it is sent."""
        for key in [key for key in self._held if key[0] == request_id]:
            del self._held[key]

    def take(self) -> tuple[Delta, ...]:
        """What is due now."""
        due = tuple(self._due)
        self._due.clear()
        return due


def joined(deltas: Sequence[Delta]) -> Iterator[Delta]:
    """One delta for each run of deltas that continue one another."""
    breaks = [
        index
        for index, (before, after) in enumerate(pairwise(deltas), start=1)
        if after.first_index != before.first_index + len(before.tokens)
    ]
    for start, stop in pairwise([0, *breaks, len(deltas)]):
        run = deltas[start:stop]
        tokens = tuple(chain.from_iterable(delta.tokens for delta in run))
        yield replace(run[-1], first_index=run[0].first_index, tokens=tokens)
