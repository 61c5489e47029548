from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry

from orchestrator.gateway.fleet_metrics import FleetCollector
from orchestrator.policy.view import ClusterView
from protos.messages import EngineCounters, ReplicaId, Snapshot
from tests.unit.control.reports import report
from tests.unit.policy.views import cluster, idle

BUSY = replace(
    report(ReplicaId("a")),
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
    counters=EngineCounters(
        preemptions=11, recomputed_tokens=640, sequences_imported=8, sequences_exported=9
    ),
)


class Shown:
    """What one gateway sees, and what it makes of it."""

    def __init__(self) -> None:
        self.view: ClusterView = cluster()
        self.reports: tuple[Snapshot, ...] = ()
        self._registry = CollectorRegistry()
        self._registry.register(FleetCollector(lambda: self.view, lambda: self.reports))

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"blockyard_{name}", {"replica": "a"} | labels)


def test_each_replica_is_shown_as_it_reports_now() -> None:
    shown = Shown()
    assert shown.value("num_requests_running") is None
    shown.reports = (BUSY,)
    assert shown.value("num_requests_running") == 5
    assert shown.value("num_requests_waiting") == 6
    assert shown.value("kv_cache_usage_perc") == 0.7
    assert shown.value("kv_blocks_unreclaimable") == 5
    assert shown.value("kv_slots_unused") == 17
    assert shown.value("replica_step_seconds") == 0.02
    assert shown.value("num_preemptions_total") == 11
    assert shown.value("recomputed_tokens_total") == 640
    assert shown.value("sequences_moved_total", direction="in") == 8
    assert shown.value("sequences_moved_total", direction="out") == 9


def test_the_states_of_blocks_add_up_to_all_blocks() -> None:
    shown = Shown()
    shown.reports = (BUSY,)
    states = {
        state: shown.value("kv_blocks", state=state)
        for state in ("free", "cached", "shared", "private")
    }
    assert states == {"free": 1, "cached": 2, "shared": 3, "private": 4}


def test_a_replica_is_up_where_this_gateway_sends_requests_to_it() -> None:
    shown = Shown()
    shown.view = cluster(replace(idle("a"), blocks_promised=4), replace(idle("b"), draining=True))
    assert shown.value("replica_up") == 1
    assert shown.value("replica_up", replica="b") == 0
    assert shown.value("kv_blocks_promised") == 4
