"""The clock of the steps: how long each took, where that went, and the age of the one that runs."""

from __future__ import annotations

from enum import Enum

from protos.messages import StepTotals
from replicas.engine.plan import StepOutcome, StepPlan
from replicas.engine.step_times import StepTimes
from replicas.shell.clock import now_ns


class Phase(Enum):
    """What is done for a step, one after the other."""

    SCHEDULE = "schedule"
    EXECUTE = "execute"
    APPLY = "apply"


class Pace:
    """Measures steps, and the waits for them. One writer, the stepper."""

    def __init__(self) -> None:
        self.times = StepTimes()
        self._began_ns: int | None = None
        self._phase: Phase | None = None
        self._since_ns = 0
        self._spent_ns = dict.fromkeys(Phase, 0)
        self._rows = self._forward_ns = 0
        self._admitted = self._queue_ns = 0

    @property
    def age_ns(self) -> int:
        """How long the running step, or job between two, has been running; else 0."""
        return 0 if self._began_ns is None else now_ns() - self._began_ns

    @property
    def totals(self) -> StepTotals:
        """Everything so far, but the phase under way."""
        return StepTotals(
            rows=self._rows,
            schedule_ns=self._spent_ns[Phase.SCHEDULE],
            execute_ns=self._spent_ns[Phase.EXECUTE],
            forward_ns=self._forward_ns,
            apply_ns=self._spent_ns[Phase.APPLY],
            admitted=self._admitted,
            queue_ns=self._queue_ns,
        )

    def enter(self, phase: Phase | None) -> None:
        """From now on time is spent on this; None: on no step."""
        at_ns = now_ns()
        if self._phase is not None:
            self._spent_ns[self._phase] += at_ns - self._since_ns
        self._phase, self._since_ns = phase, at_ns

    def begin(self) -> None:
        assert self._began_ns is None, "steps do not overlap"
        self._began_ns = now_ns()

    def end(self, plan: StepPlan, outcome: StepOutcome) -> None:
        """What began has ended: as many steps by this plan as its outcome says."""
        self.times.add(plan, self.age_ns, outcome.steps)
        self._rows += len(plan.rows) * outcome.steps
        self._forward_ns += outcome.forward_ns
        self._began_ns = None

    def forget(self) -> None:
        """What began was no step."""
        self._began_ns = None

    def add_wait(self, waited_ns: int) -> None:
        """Somebody is in his first step, for which he waited so long."""
        self._admitted += 1
        self._queue_ns += waited_ns
