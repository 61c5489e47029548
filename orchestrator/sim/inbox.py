"""What has arrived for one submission or adoption and was not read yet.

A token on its own costs the simulator more than the step that it came from,
and nobody watches tokens in the middle of an answer. A patient inbox therefore
holds them until something comes that matters, and joins them where they
continue one another: a token that was lost or repeated still shows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from protos.messages import Delta, Handoff


class Inbox:
    """Deltas and handoffs in order, then the reason why no more come."""

    def __init__(self, *, is_patient: bool) -> None:
        self._is_patient = is_patient
        self._held: dict[int, list[Delta]] = {}  # by choice
        self._arrivals: deque[Delta | Handoff | Exception] = deque()
        self._has_news = asyncio.Event()

    def put(self, event: Delta | Handoff) -> None:
        """Add what came."""
        match event:
            case Delta(choice=choice, first_index=index, finish=None) if self._is_patient and index:
                self._held.setdefault(choice, []).append(event)
            case _:
                self._release()
                self._add(event)

    def end(self, reason: Exception) -> None:
        """Nothing follows, because of `reason`."""
        self._release()
        self._add(reason)

    async def take(self) -> Delta | Handoff:
        """The next one; raises the end's reason."""
        while not self._arrivals:
            self._has_news.clear()
            await self._has_news.wait()
        match self._arrivals.popleft():
            case Exception() as reason:
                raise reason
            case event:
                return event

    def _add(self, event: Delta | Handoff | Exception) -> None:
        self._arrivals.append(event)
        self._has_news.set()

    def _release(self) -> None:
        for deltas in self._held.values():
            self._arrivals.extend(joined(deltas))
        self._held.clear()


def joined(deltas: Sequence[Delta]) -> list[Delta]:
    """One delta for each run of deltas that continue one another."""
    runs: list[list[Delta]] = []
    expected: int | None = None
    for delta in deltas:
        if delta.first_index != expected:
            runs.append([])
        runs[-1].append(delta)
        expected = delta.first_index + len(delta.tokens)
    return [
        replace(run[0], tokens=tuple(chain.from_iterable(delta.tokens for delta in run)))
        for run in runs
    ]
