"""The clock of the steps: how long each took, and the age of the one that runs."""

from __future__ import annotations

from replicas.engine.plan import StepPlan
from replicas.engine.step_times import StepTimes
from replicas.shell.clock import now_ns


class Pace:
    """Measures steps. One writer, the stepper."""

    def __init__(self) -> None:
        self.times = StepTimes()
        self._began_ns: int | None = None

    @property
    def age_ns(self) -> int:
        """How long the running step, or job between two, has been running; else 0."""
        return 0 if self._began_ns is None else now_ns() - self._began_ns

    def begin(self) -> None:
        assert self._began_ns is None, "steps do not overlap"
        self._began_ns = now_ns()

    def end(self, plan: StepPlan, steps: int) -> None:
        """What began has ended: so many steps by this plan."""
        self.times.add(plan, self.age_ns, steps)
        self._began_ns = None

    def forget(self) -> None:
        """What began was no step."""
        self._began_ns = None
