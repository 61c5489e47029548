"""What several faults at once have done to the ways between members.

Each way is as bad as all that disturbs it now: delays add up, losses compound,
and the two are parted until nothing parts them any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import prod
from typing import Protocol

from orchestrator.chaos.faults import Delay, Loss, Part

Lasting = Delay | Loss | Part


class Ways(Protocol):
    """What of a network is disturbed (network.py)."""

    def delay(self, one: str, other: str, delay_s: float) -> None: ...

    def lose(self, one: str, other: str, share: float) -> None: ...

    def part(self, one: str, other: str) -> None: ...

    def join(self, one: str, other: str) -> None: ...


class Disturbances:
    """Of one network, which nobody else disturbs meanwhile."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._faults: defaultdict[frozenset[str], list[Lasting]] = defaultdict(list)

    def begin(self, fault: Lasting, pairs: Sequence[tuple[str, str]]) -> None:
        for pair in pairs:
            self._faults[frozenset(pair)].append(fault)
            self._apply(pair)

    def end(self, fault: Lasting, pairs: Sequence[tuple[str, str]]) -> None:
        """Of a fault that has begun between these."""
        for pair in pairs:
            self._faults[frozenset(pair)].remove(fault)
            self._apply(pair)

    def _apply(self, pair: tuple[str, str]) -> None:
        faults = self._faults[frozenset(pair)]
        self._ways.delay(*pair, sum(each.delay_s for each in faults if isinstance(each, Delay)))
        passing = prod(1.0 - each.share for each in faults if isinstance(each, Loss))
        self._ways.lose(*pair, 1.0 - passing)
        if any(isinstance(each, Part) for each in faults):
            self._ways.part(*pair)
        else:
            self._ways.join(*pair)
