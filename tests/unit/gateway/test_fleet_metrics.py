from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry

from orchestrator.gateway.fleet_metrics import FleetCollector
from orchestrator.policy.view import ClusterView
from tests.unit.policy.views import cluster, idle


def test_each_replica_is_shown_as_it_reports_now() -> None:
    shown: list[ClusterView] = [cluster()]
    registry = CollectorRegistry()
    registry.register(FleetCollector(lambda: shown[-1]))

    def value(name: str, replica: str) -> float | None:
        return registry.get_sample_value(name, {"replica": replica})

    assert value("replica_up", "a") is None
    busy = replace(
        idle("a"),
        blocks_free=1,
        blocks_cached=2,
        blocks_used=3,
        blocks_promised=4,
        sequences_running=5,
        sequences_waiting=6,
    )
    shown.append(cluster(busy, replace(idle("b"), draining=True)))
    assert {
        name: value(name, "a")
        for name in (
            "kv_blocks_free",
            "kv_blocks_cached",
            "kv_blocks_used",
            "kv_blocks_promised",
            "sequences_running",
            "sequences_waiting",
            "replica_up",
        )
    } == {
        "kv_blocks_free": 1,
        "kv_blocks_cached": 2,
        "kv_blocks_used": 3,
        "kv_blocks_promised": 4,
        "sequences_running": 5,
        "sequences_waiting": 6,
        "replica_up": 1,
    }
    assert value("replica_up", "b") == 0
