"""What a gateway could not tell the others, as a metric read when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.gateway.metrics import PREFIX


class AnnouncementCollector(Collector):
    """`forgotten` answers how many announcements were forgotten so far."""

    def __init__(self, forgotten: Callable[[], int]) -> None:
        self._forgotten = forgotten

    def collect(self) -> Iterable[Metric]:
        """As it is now."""
        yield CounterMetricFamily(
            f"{PREFIX}announcements_forgotten",
            "Placements of which the other gateways could not be told",
            self._forgotten(),
        )
