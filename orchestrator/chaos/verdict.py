"""All that is to be said of one play of a scenario, from what clients heard."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from orchestrator.chaos.aims import Aim, aims
from orchestrator.chaos.compare import Difference
from orchestrator.chaos.demand import demand
from orchestrator.chaos.phases import Fared, Trouble, fared, trouble
from orchestrator.chaos.recovery import Recovery, recoveries
from orchestrator.chaos.rules import breaches, not_compared, wrong_streams
from orchestrator.chaos.scenario import Scenario
from orchestrator.chaos.world import Observed
from orchestrator.workload.heard import End


@dataclass(frozen=True, slots=True)
class Verdict:
    """A run passes if no rule was broken and no hard expectation missed; soft ones stand beside."""

    breaches: tuple[str, ...]
    aims: tuple[Aim, ...]
    ends: dict[End, int]
    wrong: dict[Difference, int]
    trouble: Trouble
    groups: tuple[Fared, ...]
    recoveries: tuple[Recovery, ...]
    not_compared: int  # answers of which nobody knows what is right

    @property
    def is_passed(self) -> bool:
        return not self.breaches and all(aim.is_met for aim in self.aims if aim.is_hard)

    @property
    def missed(self) -> tuple[str, ...]:
        """Expectations that were not met."""
        return tuple(aim.sentence for aim in self.aims if not aim.is_met)

    @property
    def recovery_s(self) -> float | None:
        """The longest, of faults after which somebody asked; None: there is none, or no end."""
        known = [one.seconds for one in self.recoveries if one.is_known]
        seen = [seconds for seconds in known if seconds is not None]
        return max(seen, default=None) if len(seen) == len(known) else None

    @property
    def silence_s(self) -> float | None:
        """The longest of any stream while something was wrong; None: no fault struck."""
        return max((one.silence_s for one in self.recoveries), default=None)


def judge(scenario: Scenario, seed: int, observed: Observed) -> Verdict:
    """Pure: the same for the same."""
    dues = demand(scenario, seed)
    objectives = scenario.objectives
    due_numbers = {due.number for due in dues}
    heard = tuple(one for one in observed.heard if one.number in due_numbers)
    when = trouble(scenario, observed.struck)
    groups = fared(dues, heard, when, objectives)
    recovered = recoveries(dues, heard, observed.struck, when, objectives)
    return Verdict(
        breaches=tuple(breaches(dues, observed, deadline_s=objectives.deadline_s)),
        aims=tuple(aims(scenario.expect, dues, heard, groups, recovered, observed.totals)),
        ends=dict(Counter(one.end for one in heard)),
        wrong=dict(wrong_streams(observed)),
        trouble=when,
        groups=groups,
        recoveries=recovered,
        not_compared=not_compared(dues, observed)[0],
    )
