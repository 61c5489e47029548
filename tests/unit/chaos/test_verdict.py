"""A verdict puts it all together, and is the same for the same."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.chaos.compare import Difference
from orchestrator.chaos.demand import demand
from orchestrator.chaos.scenario import Scenario
from orchestrator.chaos.verdict import judge
from orchestrator.workload.heard import End, Heard
from tests.unit.chaos.made_up import SCENARIO, WORDS, heard, observed, struck


def as_due(scenario: Scenario, seed: int) -> list[Heard]:
    """Everything that is due, answered as it should be."""
    return [heard(due.number, due.due_s) for due in demand(scenario, seed)]


def test_a_run_in_which_all_is_well_passes() -> None:
    verdict = judge(SCENARIO, 3, observed(as_due(SCENARIO, 3)))
    assert verdict.is_passed
    assert verdict.ends == {End.ANSWERED: len(as_due(SCENARIO, 3))}
    assert verdict.recovery_s is None


def test_one_wrong_stream_fails_it() -> None:
    records = as_due(SCENARIO, 3)
    records[2] = replace(records[2], said=(WORDS[:-1],))
    verdict = judge(SCENARIO, 3, observed(records))
    assert not verdict.is_passed
    assert verdict.wrong == {Difference.LOST: 1}


def test_the_longest_recovery_is_the_run_s() -> None:
    records = [
        replace(one, first_s=one.due_s + 5) if 6.0 < one.due_s < 7.0 else one
        for one in as_due(SCENARIO, 3)
    ]
    faults = (struck(2.0, 2.5), struck(6.0, 6.5))
    verdict = judge(SCENARIO, 3, replace(observed(records), struck=faults))
    first, second = verdict.recoveries
    assert first.seconds == 0.0
    assert verdict.recovery_s == second.seconds
    assert second.seconds is not None and second.seconds > 0


def test_the_same_observation_has_the_same_verdict() -> None:
    world = observed(as_due(SCENARIO, 5), struck=(struck(4.0, 5.0),))
    assert judge(SCENARIO, 5, world) == judge(SCENARIO, 5, world)
