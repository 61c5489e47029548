from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.fleet_metrics import FleetCollector
from orchestrator.policy.route import RouteConfig, RouteReason, place, uncopied
from protos.messages import CopyTotals, EngineCounters, Snapshot, StepTotals
from tests.unit.control.reports import A, B, member, report
from tests.unit.policy.views import idle, subject

BUSY = replace(
    report(A),
    blocks_total=10,
    blocks_free=1,
    blocks_cached=2,
    blocks_used=7,
    blocks_shared=3,
    blocks_unreclaimable=5,
    slots_unused=17,
    sequences_running=5,
    sequences_waiting=6,
    step_ns=20_000_000,
    host_blocks_total=8,
    host_blocks_used=2,
    counters=EngineCounters(
        preemptions=11,
        pauses=7,
        recomputed_tokens=640,
        restored_tokens=320,
        sequences_imported=8,
        sequences_exported=9,
        guessed_tokens=50,
        accepted_tokens=30,
        prefill_tokens=5000,
        decode_tokens=700,
        hit_tokens=900,
        steps=40,
    ),
    totals=StepTotals(
        rows=200,
        schedule_ns=10_000_000,
        execute_ns=900_000_000,
        forward_ns=800_000_000,
        apply_ns=20_000_000,
        admitted=16,
        queue_ns=4_000_000_000,
    ),
    copies=CopyTotals(blocks=70, held_ns=1_500_000_000, ended=(("copied", 4), ("late", 1))),
)


NOW_NS = 5


class StandingClock:
    def now_ns(self) -> int:
        return NOW_NS

    async def sleep(self, duration_s: float) -> None:
        raise AssertionError("nobody waits")


class Shown:
    """A cluster of replicas a and b as one gateway sees it, and what it makes of it."""

    def __init__(self) -> None:
        self.cluster = Cluster(ClusterConfig())
        self.cluster.observe_members([member(A), member(B)])
        self._registry = CollectorRegistry()
        self._registry.register(FleetCollector(self.cluster, StandingClock()))

    def hear(self, *reports: Snapshot) -> None:
        for each in reports:
            self.cluster.observe_report(each, NOW_NS)

    def total(self, name: str) -> float | None:
        return self._registry.get_sample_value(f"blockyard_{name}")

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"blockyard_{name}", {"replica": A} | labels)


def test_each_replica_is_shown_as_it_reports_now() -> None:
    shown = Shown()
    assert shown.value("num_requests_running") is None
    shown.hear(BUSY)
    assert shown.value("num_requests_running") == 5
    assert shown.value("num_requests_waiting") == 6
    assert shown.value("kv_cache_usage_perc") == 0.7
    assert shown.value("kv_blocks_unreclaimable") == 5
    assert shown.value("kv_slots_unused") == 17
    assert shown.value("replica_step_seconds") == 0.02
    assert shown.value("num_preemptions_total") == 11
    assert shown.value("sequences_paused_total") == 7
    assert shown.value("recomputed_tokens_total") == 640
    assert shown.value("guessed_tokens_total") == 50
    assert shown.value("accepted_tokens_total") == 30
    assert shown.value("restored_tokens_total") == 320
    assert shown.value("host_blocks_used") == 2
    assert shown.value("host_cache_usage_perc") == 0.25
    assert shown.value("prefill_tokens_total") == 5000
    assert shown.value("decode_tokens_total") == 700
    assert shown.value("hit_tokens_total") == 900
    assert shown.value("step_rows_total") == 200
    assert shown.value("steps_total") == 40
    assert shown.value("replica_admissions_total") == 16
    assert shown.value("replica_queue_seconds_total") == 4
    assert shown.value("sequences_moved_total", direction="in") == 8
    assert shown.value("sequences_moved_total", direction="out") == 9
    assert shown.value("kv_blocks_copied_total") == 70
    assert shown.value("copy_wait_seconds_total") == 1.5
    assert shown.value("copies_total", outcome="copied") == 4
    assert shown.value("copies_total", outcome="late") == 1
    assert shown.value("copies_total", outcome="lost") == 0


def test_a_steps_time_is_shown_by_what_it_went_to() -> None:
    """Each phase for itself: their sum is all of it."""
    shown = Shown()
    shown.hear(BUSY)
    spent = {"schedule": 0.01, "forward": 0.8, "around": 0.1, "apply": 0.02}
    for phase, seconds in spent.items():
        assert shown.value("step_phase_seconds_total", phase=phase) == pytest.approx(seconds)


def test_the_states_of_blocks_add_up_to_all_blocks() -> None:
    shown = Shown()
    shown.hear(BUSY)
    states = {
        state: shown.value("kv_blocks", state=state)
        for state in ("free", "cached", "shared", "private")
    }
    assert states == {"free": 1, "cached": 2, "shared": 3, "private": 4}


def test_a_replica_is_up_where_this_gateway_sends_requests_to_it() -> None:
    shown = Shown()
    shown.hear(replace(BUSY, draining=True))
    assert shown.value("replica_up") == 0
    assert shown.value("replica_up", replica=B) == 0, "listed, and not heard"
    shown.hear(report(B))
    assert shown.value("replica_up", replica=B) == 1


def test_what_is_promised_to_a_replica_is_shown_until_it_is_released() -> None:
    shown = Shown()
    shown.hear(report(A))
    placement = place(uncopied(idle(A), 0, subject(), RouteConfig()), subject(), RouteReason.LOAD)
    debit = shown.cluster.charge(placement, NOW_NS)
    assert shown.value("kv_blocks_promised") == placement.blocks > 0
    shown.cluster.release(debit)
    assert shown.value("kv_blocks_promised") == 0


def test_the_registry_is_as_stale_as_it_is_for_the_replica_that_waits_longest() -> None:
    shown = Shown()
    shown.hear(replace(report(A), registry_behind_ns=2_000_000_000), report(B))
    assert shown.total("registry_staleness_seconds") == 2.0
