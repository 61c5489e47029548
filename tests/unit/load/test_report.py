"""Figures: what counts in which, and what is said beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.load.progress import Tally
from orchestrator.load.report import Objectives, phase_of, report
from orchestrator.load.spikes import Spike
from orchestrator.load.table import lines
from orchestrator.workload.heard import End, Heard

OBJECTIVES = Objectives(ttft_s=1.0, tpot_s=0.1)
GOOD = Heard(
    number=0,
    tag="chat",
    request_class="interactive",
    due_s=10.0,
    sent_s=10.001,
    ended_s=11.0,
    end=End.ANSWERED,
    first_s=10.5,
    last_s=11.0,
    gaps_s=(0.1, 0.1, 0.1, 0.1, 0.1),
    tokens=6,
    prompt_tokens=600,
    hit_tokens=592,
)
SHED = replace(GOOD, end=End.REFUSED, code="overloaded", first_s=None, last_s=None, gaps_s=())


def test_goodput_counts_over_all_that_were_due() -> None:
    late = replace(GOOD, first_s=11.5, last_s=12.0)
    slow = replace(GOOD, last_s=14.0)
    summary = report([GOOD, late, slow, SHED], OBJECTIVES, seconds=2.0)
    assert (summary.overall.good, summary.overall.good_share) == (1, 0.25)
    assert summary.goodput_per_s == 0.5
    assert summary.overall.refused == {"overloaded": 1}


def test_latencies_count_from_the_due_time() -> None:
    waited = replace(GOOD, sent_s=10.4)
    summary = report([waited], OBJECTIVES, seconds=1.0)
    assert summary.overall.ttft_s["p50"] == 0.5
    assert summary.overall.e2e_s["p50"] == 1.0
    assert summary.overall.tpot_s["p50"] == pytest.approx(0.1)
    assert summary.overall.itl_s["p99"] == 0.1


def test_one_token_has_no_time_between_tokens_to_miss() -> None:
    assert OBJECTIVES.are_met_by(replace(GOOD, tokens=1, last_s=GOOD.first_s))


@pytest.mark.parametrize("end", [End.REFUSED, End.BROKEN, End.UNANSWERED, End.LEFT])
def test_only_an_answer_is_good(end: End) -> None:
    assert not OBJECTIVES.are_met_by(replace(GOOD, end=end))


def test_what_is_not_told_is_not_zero() -> None:
    silent = replace(GOOD, hit_tokens=0)
    assert report([silent], OBJECTIVES, seconds=1.0).overall.hit_ratio is None
    ratio = report([GOOD, silent], OBJECTIVES, seconds=1.0).overall.hit_ratio
    assert ratio == pytest.approx(592 / 1200)


def test_parts_come_by_tag_and_by_phase() -> None:
    agent = replace(GOOD, number=1, tag="agent", due_s=25.0)
    summary = report([agent, GOOD], OBJECTIVES, seconds=30.0, spikes=[Spike(20, 2, 10)])
    assert list(summary.by_tag) == ["chat", "agent"]
    assert list(summary.by_phase) == ["before", "spike"]


def test_phases_of_several_spikes_are_told_apart() -> None:
    spikes = [Spike(20, 2, 10), Spike(50, 2, 10)]
    names = [phase_of(due_s, spikes) for due_s in (0, 20, 30, 50, 60)]
    assert names == ["before", "spike at 20 s", "after at 20 s", "spike at 50 s", "after at 50 s"]


def test_a_sender_that_was_late_says_so() -> None:
    on_time = report([GOOD], OBJECTIVES, seconds=1.0)
    assert on_time.sender.warnings == ()
    late = report([replace(GOOD, sent_s=10.3)], OBJECTIVES, seconds=1.0, busy=0.95)
    said = "\n".join(lines(late))
    assert "the sender itself was late (p99 300 ms)" in said
    assert "busy 95% of the time" in said


def test_everything_that_is_no_answer_is_said() -> None:
    heard = [
        SHED,
        replace(GOOD, end=End.BROKEN, code="cut_short"),
        replace(GOOD, end=End.UNANSWERED, code="deadline"),
        replace(GOOD, end=End.LEFT),
        replace(GOOD, connections=3),
    ]
    said = "\n".join(lines(report(heard, OBJECTIVES, seconds=1.0, under_way=7)))
    for sentence in (
        "refused: 1 overloaded",
        "broken: 1 cut_short",
        "not answered: 1 deadline",
        "clients that left: 1",
        "reconnections: 2",
        "counted nowhere: 7",
    ):
        assert sentence in said


def test_nothing_heard_is_a_report_as_well() -> None:
    summary = report([], OBJECTIVES, seconds=0.0)
    assert summary.overall.requests == 0
    assert list(lines(summary))


def test_a_tally_knows_what_is_under_way() -> None:
    tally = Tally([1.0, 2.0, 3.0])
    tally.add(GOOD)
    assert (tally.sent(2.5), tally.under_way(2.5)) == (2, 1)
    assert tally.words(2.5).startswith("1 under way, 0 refused, 0 failed, TTFT p50 500")
