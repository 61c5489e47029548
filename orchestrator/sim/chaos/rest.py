"""The checkers of a chaos world: engines at every look, everything at the end.

What clients got is not looked at here: that is the verdict's. What is wrong at
rest is collected, a sentence each, so that one leak does not hide the next.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Outcome
from orchestrator.sim.rest import Rest
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
        rest: Rest,
    ) -> None:
        for check in rest.checks():
            try:
                check()
            except AssertionError as error:
                self.leaks.append(str(error))
