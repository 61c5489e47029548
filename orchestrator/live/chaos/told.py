"""What a cluster tells of itself: gateways by /metrics, engines by the operator's status.

Gauges of replicas are the same at every gateway, so any one will do to see
what is still held. Counters are each gateway's own: a difference means
something only for one and the same gateway, known by its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.chaos.world import CannotDo
from protos.messages import EngineCounters, Snapshot

NOTHING = EngineCounters()
# What no replica has when all is quiet. Cached blocks may be kept.
HELD: Mapping[str, str] = {
    "blockyard_kv_blocks_promised": "blocks promised",
    "blockyard_num_requests_running": "sequences running",
    "blockyard_num_requests_waiting": "sequences waiting",
}
BLOCKS = "blockyard_kv_blocks"
IN_USE = frozenset({"shared", "private"})  # of the states that it tells apart
# What gateways count, in the words of a report.
COUNTED: Mapping[str, str] = {
    "blockyard_requests_placed": "placements",
    "blockyard_requests_retried": "retries",
    "blockyard_registry_missed": "lookups_missed",
    "blockyard_streams_resumed": "resumptions",
    "blockyard_streams_taken_over": "takeovers",
    "blockyard_handoffs": "handoffs",
    "blockyard_adoptions": "adoptions",
}
REPLICA = "blockyard_kv_cache_usage_perc"  # every replica that a gateway hears has this gauge


def held(text: str) -> tuple[str, ...]:
    """A sentence for all that replicas hold, as one gateway sees it; none when all is quiet."""
    counts: Counter[tuple[str, str]] = Counter()
    for family in _families(text):
        for sample in family.samples:
            what = _what_is_held(sample.name, sample.labels)
            if what is not None:
                counts[sample.labels["replica"], what] += int(sample.value)
    return tuple(f"{name} has {count} {what}" for (name, what), count in counts.items() if count)


def _families(text: str) -> Iterator[Metric]:
    """Raises CannotDo where this is no page of metrics: so there is no gateway of ours."""
    try:
        yield from text_string_to_metric_families(text)
    except ValueError as error:
        raise CannotDo(f"what is told at /metrics is no gateway's: {error}") from error


def replicas(text: str) -> int:
    """How many replicas this gateway knows."""
    families = _families(text)
    return sum(len(family.samples) for family in families if family.name == REPLICA)


def counted(before: Mapping[str, str], after: Mapping[str, str]) -> Mapping[str, int]:
    """What the gateways counted meanwhile, all labels and gateways added up.

    A gateway that was not there before began at zero. What one counted that
    died is lost, as it is to Prometheus.
    """
    total: Counter[str] = Counter()
    for gateway, text in after.items():
        began = _counters(before.get(gateway, ""))
        for name, value in _counters(text).items():
            # Less than before: the same pod, another process.
            total[name] += value - began[name] if value >= began[name] else value
    return dict(total)


def _what_is_held(metric: str, labels: Mapping[str, str]) -> str | None:
    if metric == BLOCKS:
        return "blocks in use" if labels["state"] in IN_USE else None
    return HELD.get(metric)


def _counters(text: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for family in _families(text):
        if family.name in COUNTED:
            for sample in family.samples:
                total[COUNTED[family.name]] += int(sample.value)
    return total


def computed(before: Iterable[Snapshot], after: Iterable[Snapshot]) -> Mapping[str, int]:
    """What the engines did meanwhile, those of now; an engine's new epoch began at zero."""
    began = {(one.replica_id, one.epoch): one.counters for one in before}
    pairs = [(began.get((one.replica_id, one.epoch), NOTHING), one.counters) for one in after]
    return {
        "preemptions": sum(end.preemptions - start.preemptions for start, end in pairs),
        "moves": sum(end.sequences_imported - start.sequences_imported for start, end in pairs),
    }
