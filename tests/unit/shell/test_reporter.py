"""Snapshots are numbered within their epoch; steps leave a mean behind."""

from __future__ import annotations

import pytest

from protos.messages import ReplicaId
from replicas.engine.plan import StepOutcome, StepPlan
from replicas.shell.pace import Pace
from replicas.shell.reporter import Reporter
from tests.unit.shell.counting import engine


def test_numbers_grow_by_one_and_begin_again_with_an_epoch() -> None:
    reporter = Reporter(engine(), ReplicaId("r-0"), Pace())
    first, second = reporter.snapshot(), reporter.snapshot()
    reporter.begin_epoch(7)
    third = reporter.snapshot()
    assert [(s.epoch, s.number) for s in (first, second, third)] == [(0, 0), (0, 1), (7, 0)]


def test_an_epoch_never_comes_back() -> None:
    reporter = Reporter(engine(), ReplicaId("r-0"), Pace())
    reporter.begin_epoch(7)
    with pytest.raises(AssertionError, match="epochs only grow"):
        reporter.begin_epoch(7)


async def test_a_step_has_an_age_while_it_runs_and_moves_the_mean_afterwards() -> None:
    pace = Pace()
    assert (pace.times.mean_ns, pace.age_ns) == (0, 0)
    pace.begin()
    assert pace.age_ns > 0
    pace.end(StepPlan((), ()), StepOutcome(()))
    assert pace.times.mean_ns > 0
    assert pace.age_ns == 0
