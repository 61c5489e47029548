"""The checkers of a chaos world: engines at every look, everything at the end.

What clients got is not looked at here: that is the verdict's. What is wrong at
rest is collected, a sentence each, so that one leak does not hide the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from orchestrator.sim.checkers import Checkers, check_registry, check_rest
from orchestrator.sim.client import Outcome
from orchestrator.sim.replica import SimReplica
from orchestrator.sim.watched_registry import WatchedRegistry
from orchestrator.workload.traffic import Traffic
from protos.messages import Request


class RestCheckers(Checkers):
    """`leaks` fills when all is quiet."""

    def __init__(self, *, every_steps: int) -> None:
        super().__init__(every_steps=every_steps)
        self.leaks: list[str] = []

    def after_request(self, number: int, request: Request, outcome: Outcome) -> None:
        """The client has written it down."""

    def at_end(
        self,
        traffic: Traffic,
        outcomes: Sequence[Outcome],
        replicas: Iterable[SimReplica],
        registry: WatchedRegistry,
    ) -> None:
        for replica in replicas:
            self._collect(check_rest, replica)
            self._collect(check_registry, replica, registry)

    def _collect(self, check: Callable[..., None], *what: object) -> None:
        try:
            check(*what)
        except AssertionError as error:
            self.leaks.append(str(error))
