from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import HistogramMetricFamily

from orchestrator.control.durations import Durations

BOUNDS = (0.5, 1, 2.5)


def shown(durations: Durations) -> dict[tuple[str, str], float]:
    family = HistogramMetricFamily("h", "")
    family.add_metric([], durations.buckets, durations.total_s)
    return {(each.name, each.labels.get("le", "")): each.value for each in family.samples}


@given(st.lists(st.integers(0, 4_000), max_size=20))
def test_it_counts_as_prometheus_counts(durations_ms: list[int]) -> None:
    """Power: a bound that does not belong to its own bucket differs at 500 ms."""
    own, registry = Durations(BOUNDS), CollectorRegistry()
    reference = Histogram("h", "", buckets=BOUNDS, registry=registry)
    for duration_ms in (500, *durations_ms):
        own.observe(duration_ms * 1_000_000)
        reference.observe(duration_ms / 1_000)
    (family,) = registry.collect()
    expected = {
        (each.name, each.labels.get("le", "")): each.value
        for each in family.samples
        if each.name != "h_created"
    }
    found = shown(own)
    assert found.pop(("h_sum", "")) - expected.pop(("h_sum", "")) < 1e-6
    assert found == expected
