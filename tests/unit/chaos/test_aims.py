"""Every expectation is told as met or missed, with the figure that was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.chaos.scenario import Expectations
from orchestrator.chaos.verdict import Verdict, judge
from orchestrator.chaos.world import Struck
from orchestrator.workload.heard import End, Heard
from tests.unit.chaos.made_up import SCENARIO, observed, struck
from tests.unit.chaos.test_verdict import as_due


def judged(expect: Expectations, changes: dict[int, dict[str, Any]], *faults: Struck) -> Verdict:
    scenario = replace(SCENARIO, expect=expect)
    records: Sequence[Heard] = [
        replace(record, **changes.get(record.number, {})) for record in as_due(scenario, 0)
    ]
    return judge(scenario, 0, replace(observed(records), struck=faults))


REFUSED: dict[str, Any] = {"end": End.REFUSED, "code": "queue_full", "first_s": None, "said": ()}


@pytest.mark.parametrize(
    ("expect", "changes", "sentence", "is_met"),
    [
        (Expectations(refused_max=0), {}, "0 refused, at most 0 expected", True),
        (Expectations(refused_max=0), {3: REFUSED}, "1 refused, at most 0 expected", False),
        (Expectations(refused_classes=("agent",)), {3: REFUSED}, "1 refused that are not", False),
        (Expectations(refused_classes=("interactive",)), {3: REFUSED}, "0 refused that", True),
        (Expectations(ttft_p99_s=2.0), {}, "TTFT p99 of interactive 0.100 s", True),
        (Expectations(ttft_p99_s=0.05), {}, "at most 0.05 expected", False),
        (Expectations(tpot_times=1.2), {}, "TPOT p50 of interactive 1.00 times", True),
        (Expectations(recovery_s=5.0), {}, "recovery from kill in 0.00 s, 5 expected", True),
        (Expectations(silence_s=0.02), {}, "silent for 0.02 s during kill, 0.02 expected", True),
        (Expectations(silence_s=0.01), {}, "silent for 0.02 s during kill, 0.01 expected", False),
        (Expectations(crowding_min=1), {}, "0 preemptions and 0 refused, at least 1", False),
        (Expectations(crowding_min=1), {3: REFUSED}, "0 preemptions and 1 refused", True),
    ],
)
def test_an_expectation_is_met_or_missed(
    expect: Expectations,
    changes: dict[int, dict[str, Any]],
    sentence: str,
    is_met: bool,
) -> None:
    (aim,) = judged(expect, changes, struck(4.0, 8.0)).aims
    assert sentence in aim.sentence
    assert aim.is_met is is_met


def test_a_slower_pace_during_the_trouble_misses() -> None:
    slow = {n: {"last_s": 30.0} for n, one in enumerate(as_due(SCENARIO, 0)) if one.due_s >= 4.0}
    (aim,) = judged(Expectations(tpot_times=1.2), slow, struck(4.0, 12.0)).aims
    assert not aim.is_met


def test_no_recovery_is_a_missed_one() -> None:
    late = {n: {"first_s": 30.0} for n, one in enumerate(as_due(SCENARIO, 0)) if one.due_s >= 4.0}
    (aim,) = judged(Expectations(recovery_s=5.0), late, struck(4.0, 5.0)).aims
    assert aim.sentence == "no recovery from kill was seen, 5 s expected"


@pytest.mark.parametrize(
    ("expect", "is_passed"),
    [
        (Expectations(refused_max=0), False),
        (Expectations(refused_classes=("agent",)), False),
        (Expectations(crowding_min=2), True),
        (Expectations(ttft_p99_s=0.01), True),
        (Expectations(recovery_s=0.0), True),
        (Expectations(silence_s=0.01), True),
    ],
)
def test_who_was_refused_is_judged_in_every_world_and_how_fast_in_the_simulator(
    expect: Expectations, is_passed: bool
) -> None:
    refused = next(n for n, one in enumerate(as_due(SCENARIO, 0)) if one.due_s >= 4.0)
    verdict = judged(expect, {refused: REFUSED}, struck(4.0, 8.0))
    assert verdict.missed
    assert verdict.breaches == ()
    assert verdict.is_passed is is_passed


def test_preemptions_are_a_sign_of_crowding() -> None:
    scenario = replace(SCENARIO, expect=Expectations(crowding_min=1))
    world = observed(as_due(scenario, 0), totals={"preemptions": 1})
    assert judge(scenario, 0, world).is_passed


def test_a_bad_calm_is_a_missed_recovery() -> None:
    bad = {n: {"first_s": 30.0} for n, one in enumerate(as_due(SCENARIO, 0)) if one.due_s < 4.0}
    (aim,) = judged(Expectations(recovery_s=5.0), bad, struck(4.0, 5.0)).aims
    assert not aim.is_met
    assert aim.sentence.startswith("recovery from kill is unknown: less than half")


def test_nothing_is_said_of_what_was_not_expected() -> None:
    assert judged(Expectations(), {}, struck(4.0, 5.0)).aims == ()
