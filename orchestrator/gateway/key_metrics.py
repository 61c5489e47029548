"""What the doors' keys do, as metrics read when somebody asks for them.

No label names a tenant or a key: how many there are is the customers' matter,
and metrics may be open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.gateway.keyring import Keys
from orchestrator.gateway.meter import Limit
from orchestrator.gateway.metrics import PREFIX


class KeyCollector(Collector):
    """Of one gateway that has a keys file."""

    def __init__(self, keys: Keys, is_valid: Callable[[], bool]) -> None:
        self._keys = keys
        self._is_valid = is_valid

    def collect(self) -> Iterable[Metric]:
        """As it is now."""
        keyring, limits = self._keys.keyring, self._keys.limits
        yield GaugeMetricFamily(
            f"{PREFIX}keys",
            "Entries of the keys file that are in force, expired ones included",
            value=0 if keyring is None else len(keyring.entries),
        )
        yield GaugeMetricFamily(
            f"{PREFIX}keys_file_valid",
            "1: the keys in force are those of the file; 0: it became wrong, older ones stay",
            value=self._is_valid(),
        )
        yield CounterMetricFamily(
            f"{PREFIX}unauthenticated", "Calls without a good key", value=self._keys.refusals
        )
        limited = CounterMetricFamily(
            f"{PREFIX}rate_limited", "Requests refused by a key's limit", labels=["limit"]
        )
        for limit in Limit:
            limited.add_metric([limit.value], limits.refusals[limit])
        yield limited
        yield GaugeMetricFamily(
            f"{PREFIX}rate_limits_shared",
            "1: all gateways count use together; 0: Redis does not answer, each counts alone",
            value=limits.counts.are_shared,
        )
