"""Recovery by its definition, on records of which the answer is known."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.chaos.phases import trouble
from orchestrator.chaos.recovery import Recovery, recoveries
from orchestrator.chaos.scenario import Objectives
from orchestrator.chaos.world import Struck
from orchestrator.workload.heard import Heard
from tests.unit.chaos.made_up import SCENARIO, due, heard, refused, struck


def recovered(records: Sequence[Heard], *faults: Struck) -> tuple[Recovery, ...]:
    dues = [due(record.number, record.due_s) for record in records]
    when = trouble(SCENARIO, faults)
    return recoveries(dues, records, faults, when, Objectives())


def one_each_half_second(bad: set[float]) -> list[Heard]:
    """For ten seconds; of those due at a bad moment the first token takes too long."""
    times = [number / 2 for number in range(20)]
    return [
        heard(
            number, at_s, first_s=at_s + (3.0 if at_s in bad else 0.1), last_s=at_s + 4.0, tokens=80
        )
        for number, at_s in enumerate(times)
    ]


def test_a_fault_that_nobody_felt_took_no_time() -> None:
    (recovery,) = recovered(one_each_half_second(set()), struck(4.0, 5.0))
    assert recovery.seconds == 0.0


def test_recovery_lasts_until_the_first_request_after_the_last_bad_one() -> None:
    (recovery,) = recovered(one_each_half_second({4.0, 4.5, 5.5}), struck(4.0, 5.0))
    assert recovery.seconds == 2.0


def test_a_good_moment_before_a_bad_one_is_no_recovery() -> None:
    """Right after the strike all is well, and later it is not."""
    (recovery,) = recovered(one_each_half_second({7.0}), struck(4.0, 8.0))
    assert recovery.seconds == 3.5


def test_what_the_next_fault_does_is_no_delay_of_the_recovery_before() -> None:
    records = one_each_half_second({4.0, 7.0, 7.5})
    first, second = recovered(records, struck(4.0, 4.5), struck(6.5, 7.0))
    assert (first.seconds, second.seconds) == (0.5, 1.5)


def test_a_fault_that_is_felt_when_the_next_one_strikes_is_felt_until_both_are_over() -> None:
    records = one_each_half_second({4.0, 6.0, 7.0})
    first, second = recovered(records, struck(4.0, 4.5), struck(6.5, 7.0))
    assert (first.seconds, second.seconds) == (3.5, 1.0)


def test_the_order_in_which_faults_are_told_does_not_matter() -> None:
    records, one, other = one_each_half_second({4.0, 7.0}), struck(4.0, 9.0), struck(6.5, 7.0)
    assert recovered(records, one, other) == recovered(records, other, one)[::-1]


def test_two_faults_between_which_nobody_asks_are_felt_together_or_not_at_all() -> None:
    one, other = struck(4.1, 4.2), struck(4.3, 5.0)
    assert [each.seconds for each in recovered(one_each_half_second(set()), one, other)] == [0, 0]
    felt = recovered(one_each_half_second({5.0}), one, other)
    assert [round(each.seconds or 0.0, 3) for each in felt] == [1.4, 1.2]


def test_a_calm_in_which_most_was_bad_is_no_measure() -> None:
    bad = {number / 2 for number in range(20) if number % 4}
    (recovery,) = recovered(one_each_half_second(bad), struck(4.0, 5.0))
    assert recovery.seconds is None
    assert not recovery.is_known
    assert "less than half" in recovery.unknown


def test_a_refusal_is_not_goodput() -> None:
    records = one_each_half_second(set())
    records[9] = refused(9, 4.5)
    (recovery,) = recovered(records, struck(4.0, 5.0))
    assert recovery.seconds == 1.0


def test_what_was_bad_before_is_not_asked_of_the_time_after() -> None:
    """Half of all was bad in calm: as much is enough."""
    bad = {number / 2 for number in range(0, 20, 2)}
    (recovery,) = recovered(one_each_half_second(bad), struck(4.0, 5.0))
    assert recovery.seconds == 0.0


def test_a_run_that_ends_badly_has_not_recovered() -> None:
    bad = {number / 2 for number in range(8, 20)}
    (recovery,) = recovered(one_each_half_second(bad), struck(4.0, 5.0))
    assert recovery.seconds is None
    assert recovery.is_known


def test_after_the_last_request_recovery_is_unknown() -> None:
    (recovery,) = recovered(one_each_half_second(set()), struck(9.8, 9.9))
    assert recovery.seconds is None
    assert not recovery.is_known


def test_the_longest_silence_is_that_of_streams_open_across_the_fault() -> None:
    records = [
        heard(0, 0.0, ended_s=3.0, gap_s=2.5),  # over before
        heard(1, 3.0, ended_s=5.0, gap_s=1.5),
        heard(2, 4.2, ended_s=5.0, gap_s=0.3),
        heard(3, 6.0, ended_s=9.0, gap_s=2.8),  # begun after
    ]
    (recovery,) = recovered(records, struck(4.0, 5.0))
    assert recovery.silence_s == 1.5
