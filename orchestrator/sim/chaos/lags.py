"""The ways between simulated nodes that several faults may make slow at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from random import Random

from orchestrator.sim.network import Network

RESENT_S = 0.2  # after which a packet that was lost is sent again: TCP's least
RESENT_S_MAX = 3.2


class Lags:
    """By how much messages between two nodes are late: the sum of all that delays them."""

    def __init__(self, network: Network, random: Random) -> None:
        self._network = network
        self._random = random
        self._causes: defaultdict[tuple[str, str], list[Callable[[], float]]] = defaultdict(list)

    def add(self, one: str, other: str, cause: Callable[[], float]) -> None:
        self._causes[one, other].append(cause)
        self._apply(one, other)

    def remove(self, one: str, other: str, cause: Callable[[], float]) -> None:
        self._causes[one, other].remove(cause)
        self._apply(one, other)

    def resent(self, share: float, seconds: float) -> Callable[[], float]:
        """Of a way that loses this share of its packets from now on, for so long.

        The wait doubles with each loss. What is sent again after the end gets through.
        """
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + seconds

        def lag_s() -> float:
            sent_s, wait_s, total_s = loop.time(), RESENT_S, 0.0
            while sent_s + total_s < ends_s and self._random.random() < share:
                total_s += wait_s
                wait_s = min(2 * wait_s, RESENT_S_MAX)
            return total_s

        return lag_s

    def _apply(self, one: str, other: str) -> None:
        causes = tuple(self._causes[one, other])
        self._network.lag(one, other, (lambda: sum(c() for c in causes)) if causes else None)
