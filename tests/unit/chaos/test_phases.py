"""Before, during and after: who is counted where, and by which objectives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.chaos.phases import Phase, fared, is_good, trouble
from orchestrator.chaos.scenario import Objectives, Spike
from orchestrator.workload.heard import End, Heard
from tests.unit.chaos.made_up import LOAD, SCENARIO, due, heard, refused, struck


def test_trouble_lasts_from_the_first_fault_or_spike_to_the_end_of_the_last() -> None:
    spiking = replace(SCENARIO, loads=(replace(LOAD, spikes=(Spike(2.0, 1.0, 3.0),)),))
    when = trouble(spiking, (struck(4.0, 5.0), struck(3.5, 4.5)))
    assert (when.began_s, when.ended_s) == (2.0, 5.0)
    assert [when.phase(at_s) for at_s in (1.9, 2.0, 4.9, 5.0)] == [
        Phase.BEFORE,
        Phase.DURING,
        Phase.DURING,
        Phase.AFTER,
    ]


def test_without_trouble_everything_is_before_it() -> None:
    assert trouble(SCENARIO, ()).phase(9.9) is Phase.BEFORE


@pytest.mark.parametrize(
    ("record", "behaviour", "good"),
    [
        (heard(1), {}, True),
        (heard(1, first_s=2.5, last_s=2.6), {}, False),  # TTFT
        (heard(1, last_s=9.0), {}, False),  # TPOT
        (heard(1, last_s=9.0), {"reads_per_s": 2.0}, True),  # its own pace
        (refused(1), {}, False),
        (heard(1, end=End.LEFT), {"leaves_after_s": 0.1}, None),
        (refused(1), {"is_poison": True}, None),
    ],
)
def test_goodput_counts_what_met_its_objectives(
    record: Heard, behaviour: dict[str, Any], good: bool | None
) -> None:
    assert is_good(due(1, **behaviour), record, Objectives()) is good


def test_refusals_stand_beside_the_latencies() -> None:
    records = [heard(0, 1.0), heard(1, 4.2), refused(2, 4.4), refused(3, 4.6, code="no_replica")]
    dues = [due(record.number, record.due_s) for record in records]
    before, during = fared(dues, records, trouble(SCENARIO, (struck(4.0, 5.0),)), Objectives())
    assert (before.phase, before.requests, before.good) == (Phase.BEFORE, 1, 1)
    assert (during.requests, during.good, during.judged) == (3, 1, 3)
    assert during.ends == {"answered": 1, "refused": 2}
    assert during.refused_by_code == {"no_replica": 1, "queue_full": 1}
    assert during.ttft_s["p99"] == pytest.approx(0.1)
