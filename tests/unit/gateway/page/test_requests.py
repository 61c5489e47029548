"""The rows of the page's table."""

from __future__ import annotations

import json

import pytest

from orchestrator.gateway.page.requests import ENDED_MAX, OPEN_MAX, request_of, requests_of
from orchestrator.gateway.record import Record
from tests.unit.gateway.page.records import NOW, A, placed_at, record


@pytest.mark.parametrize(
    ("seen", "phase"),
    [
        (record(began_s=1), "waiting"),
        (record(began_s=1, first_s=0.5), "decode"),
        (record(began_s=1, first_s=0.5, ended_s=0.1), "ended"),
        (record(began_s=1, ended_s=0.1), "ended"),
    ],
)
def test_a_request_is_doing_one_thing(seen: Record, phase: str) -> None:
    assert request_of(seen, NOW)["phase"] == phase


def test_a_row_says_how_long_everything_took() -> None:
    row = request_of(record(began_s=9, first_s=8, ended_s=4, tokens=41), NOW)
    assert (row["age_ms"], row["ended_ms"]) == (9000.0, 4000.0)
    assert (row["ttft_ms"], row["tpot_ms"]) == (1000.0, 100.0)


def test_one_token_has_no_time_per_token() -> None:
    assert request_of(record(began_s=2, first_s=1, tokens=1), NOW)["tpot_ms"] is None


def test_what_runs_stands_before_what_ended_and_the_latest_end_first() -> None:
    records = [
        record("ended-early", began_s=3, ended_s=2),
        record("runs", began_s=7),
        record("ended-late", began_s=9, ended_s=1),
    ]
    rows = requests_of(records, NOW)
    assert [row["request_id"] for row in rows] == ["runs", "ended-late", "ended-early"]


def test_the_table_is_bounded() -> None:
    running = [record(f"r{number}", began_s=5) for number in range(300)]
    ended = [record(f"e{number}", began_s=5, ended_s=1) for number in range(300)]
    assert len(requests_of(running + ended, NOW)) == OPEN_MAX + ENDED_MAX


def test_a_row_is_json() -> None:
    assert json.loads(json.dumps(request_of(record(began_s=1), NOW)))["tenant"] == "acme"


def test_a_request_in_prefill_is_where_it_was_sent() -> None:
    row = request_of(placed_at(A), NOW)
    assert (row["phase"], row["replica"], row["reason"]) == ("prefill", "a", "load")
