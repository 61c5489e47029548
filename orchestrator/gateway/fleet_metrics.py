"""What the replicas report, as metrics read when somebody asks for them.

A collector, not gauges that are set: the view exists already, so a request
pays nothing. The only label is the replica.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.policy.view import ClusterView, ReplicaView

GAUGES: Mapping[str, tuple[str, Callable[[ReplicaView], int]]] = {
    "kv_blocks_free": ("KV blocks that hold nothing", lambda r: r.blocks_free),
    "kv_blocks_cached": ("KV blocks kept for a next hit, evictable", lambda r: r.blocks_cached),
    "kv_blocks_used": ("KV blocks in a block table", lambda r: r.blocks_used),
    "kv_blocks_promised": (
        "KV blocks of placements that no report shows",
        lambda r: r.blocks_promised,
    ),
    "sequences_running": ("Sequences in the batch", lambda r: r.sequences_running),
    "sequences_waiting": ("Sequences queued at the replica", lambda r: r.sequences_waiting),
    "replica_up": ("Whether the replica takes requests", lambda r: int(r.accepts)),
}


class FleetCollector(Collector):
    """Of one gateway's view."""

    def __init__(self, view: Callable[[], ClusterView]) -> None:
        self._view = view

    def collect(self) -> Iterable[Metric]:
        """One sample for each replica and gauge, as the view is now."""
        replicas = self._view().replicas
        for name, (help_text, read) in GAUGES.items():
            family = GaugeMetricFamily(name, help_text, labels=["replica"])
            for replica in replicas:
                family.add_metric([replica.replica_id], read(replica))
            yield family
