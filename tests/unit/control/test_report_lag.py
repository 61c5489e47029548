"""How late reports are is found out from placements and reports alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest

from orchestrator.control.report_lag import INTERVAL_NS, LAG_NS_MAX, Given, ReportLag
from protos.messages import EngineCounters
from tests.unit.control.reports import MS, SECOND, report

TICK_NS = 100 * MS


def poisson(seed: int, *, per_s: float, seconds: int) -> list[int]:
    """Moments of placements."""
    random, moments, at_s = Random(seed), [], 0.0
    while (at_s := at_s + random.expovariate(per_s)) < seconds:
        moments.append(round(at_s * SECOND))
    return moments


def found(
    placed: Iterable[list[int]],
    *,
    lag_ns: int,
    seconds: int = 120,
    told: float = 1.0,
    lag: ReportLag | None = None,
) -> list[int]:
    """The lag that is believed after each tick. One list of placements for each replica.

    Of each replica reports come at every tick, made `lag_ns` ago. Of the placements that share is
    known here.
    """
    replicas = [(moments, Given()) for moments in placed]
    random, lag, believed = Random(9), lag or ReportLag(), []
    for now_ns in range(0, seconds * SECOND, TICK_NS):
        for moments, given in replicas:
            new = sum(now_ns - TICK_NS < moment <= now_ns for moment in moments)
            given.place(sum(random.random() < told for _ in range(new)), now_ns)
            made_ns = now_ns - lag_ns
            if made_ns >= 0:
                shown = sum(moment <= made_ns for moment in moments)
                counters = EngineCounters(requests_finished=shown // 2)
                snapshot = replace(report(), counters=counters, sequences_running=-(-shown // 2))
                given.report(snapshot, now_ns, lag)
        believed.append(lag.lag_ns)
    return believed


@pytest.mark.parametrize("lag_s", [0.8, 3, 10, 25])
@pytest.mark.parametrize("seed", range(3))
def test_late_reports_are_found_out(lag_s: float, seed: int) -> None:
    placed = [poisson(10 * seed + n, per_s=0.8, seconds=120) for n in range(4)]
    believed = found(placed, lag_ns=round(lag_s * SECOND))
    assert believed[-1] == pytest.approx(lag_s * SECOND, abs=0.5 * SECOND)


def test_soon_after_reports_began_to_show_something() -> None:
    placed = [poisson(n, per_s=0.8, seconds=60) for n in range(8)]
    believed = found(placed, lag_ns=10 * SECOND, seconds=25)
    assert believed[-1] == pytest.approx(10 * SECOND, abs=0.5 * SECOND)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("told", [1.0, 0.5])
def test_fresh_reports_are_never_taken_for_late_ones(seed: int, told: float) -> None:
    """Also where half of the other gateways' placements are not heard of."""
    placed = [poisson(10 * seed + n, per_s=1.5, seconds=120) for n in range(4)]
    assert set(found(placed, lag_ns=20 * MS, told=told)) == {0}


def test_what_comes_like_clockwork_tells_nothing() -> None:
    placed = [[n * 5 * SECOND for n in range(24)]] * 4
    assert set(found(placed, lag_ns=0)) == {0}


def test_most_placements_are_enough_to_know() -> None:
    placed = [poisson(n, per_s=1.0, seconds=120) for n in range(8)]
    believed = found(placed, lag_ns=10 * SECOND, told=0.9)
    assert believed[-1] == pytest.approx(10 * SECOND, abs=0.5 * SECOND)


def test_reports_that_come_in_time_again_are_believed_again() -> None:
    lag = ReportLag()
    for lag_ns in (10 * SECOND, 0):
        placed = [poisson(n, per_s=0.8, seconds=120) for n in range(4)]
        believed = found(placed, lag_ns=lag_ns, lag=lag)
    assert believed[-1] == 0


def test_reports_that_show_nothing_tell_nothing() -> None:
    """As where replicas refuse whatever they are sent."""
    placed = [poisson(n, per_s=0.8, seconds=120) for n in range(4)]
    assert set(found(placed, lag_ns=200 * SECOND)) == {0}


def test_a_new_epoch_counts_from_its_first_report() -> None:
    """Power: compared with the last epoch's it shows fewer sequences than none."""
    lag, given = ReportLag(), Given()
    old = replace(report(), counters=EngineCounters(requests_finished=1000))
    given.report(old, 0, lag)
    given.report(report(epoch=2), INTERVAL_NS, lag)
    given.report(report(epoch=2, number=1), 2 * INTERVAL_NS, lag)
    given.place(1, 2 * INTERVAL_NS)
    assert lag.lag_ns == 0


def test_no_lag_is_believed_beyond_a_bound() -> None:
    placed = [poisson(n, per_s=0.8, seconds=120) for n in range(4)]
    assert max(found(placed, lag_ns=60 * SECOND)) <= LAG_NS_MAX
