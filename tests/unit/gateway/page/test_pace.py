"""Latencies over time are computed from the requests themselves, each workload by itself."""

from __future__ import annotations

from orchestrator.gateway.page.pace import BUCKET_NS, BUCKETS, pace_of
from protos.messages import RequestClass
from tests.unit.gateway.page.records import NOW, S, record

LAST = NOW // BUCKET_NS


def test_workloads_are_told_apart() -> None:
    agent = record(began_s=9, first_s=5, request_class=RequestClass.AGENT)
    chat = record(began_s=6, first_s=5.5)
    pace = pace_of([agent, chat], NOW)
    assert pace["now"]["ttft"] == {"agent": 4000.0, "interactive": 500.0}
    assert set(pace["ttft"]) == {"agent", "interactive"}


def test_a_bucket_has_its_median_and_its_95th_percentile() -> None:
    records = [record(began_s=5 + tenth / 10, first_s=5) for tenth in range(1, 11)]
    ((bucket, count, median, high),) = pace_of(records, NOW)["ttft"]["interactive"]
    assert (bucket, count) == ((NOW - 5 * S) // BUCKET_NS, 10)
    assert (median, high) == (500.0, 1000.0)


def test_buckets_come_in_order_of_time() -> None:
    records = [record(began_s=s + 1, first_s=s) for s in (5, 95, 35, 65)]
    rows = pace_of(records, NOW)["ttft"]["interactive"]
    assert [row[0] for row in rows] == sorted({row[0] for row in rows})
    assert len(rows) == 4


def test_what_is_too_old_is_left_out() -> None:
    age_s = BUCKETS * BUCKET_NS / S + 20
    pace = pace_of([record(began_s=age_s + 1, first_s=age_s, ended_s=age_s)], NOW)
    assert pace["ttft"] == {}
    assert pace["now"]["ttft"] == {}


def test_a_running_answer_counts_now_and_one_that_ended_counts_then() -> None:
    running = record(began_s=41, first_s=40, tokens=21)
    ended = record(began_s=61, first_s=60, ended_s=50, tokens=101)
    rows = pace_of([running, ended], NOW)["tpot"]["interactive"]
    assert [(bucket, median) for bucket, _, median, _ in rows] == [
        ((NOW - 50 * S) // BUCKET_NS, 100.0),
        (LAST, 2000.0),
    ]


def test_the_time_of_a_token_is_that_of_one_choice() -> None:
    together = record(began_s=21, first_s=20, ended_s=10, tokens=4 * 11, choices=4)
    assert pace_of([together], NOW)["now"]["tpot"] == {"interactive": 1000.0}
