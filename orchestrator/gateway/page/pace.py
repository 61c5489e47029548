"""Time to first token and time per output token over the last minutes, the workloads apart.

Minutes are cut into buckets of a few seconds. A first token counts when it
came; the time per token of a request counts when it ended, and of one that
runs, now, so that a slow answer shows before it is over. Each bucket has its
median and its 95th percentile by nearest rank, computed from the requests
themselves and not from a histogram's bounds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any, NamedTuple

from orchestrator.gateway.page.requests import tpot_ms, ttft_ms
from orchestrator.gateway.record import Record

BUCKET_NS = 10_000_000_000
BUCKETS = 30
LATELY_NS = 60_000_000_000  # what the figures beside a chart are of


class Sample(NamedTuple):
    """One request's figure, and when it was known."""

    workload: str  # its class
    at_ns: int
    value_ms: float


def pace_of(records: Sequence[Record], now_ns: int) -> dict[str, Any]:
    """Rows of (bucket, requests, median, 95th percentile) by class, in order of time."""
    ttft, tpot = first_tokens(records), tokens(records, now_ns)
    return {
        "bucket_ms": BUCKET_NS // 1_000_000,
        "buckets": BUCKETS,
        "last": now_ns // BUCKET_NS,
        "ttft": series(ttft, now_ns),
        "tpot": series(tpot, now_ns),
        "now": {"ttft": medians(ttft, now_ns), "tpot": medians(tpot, now_ns)},
    }


def first_tokens(records: Iterable[Record]) -> list[Sample]:
    return [
        Sample(record.request_class.value, record.first_token_ns, value_ms)
        for record in records
        if record.first_token_ns is not None and (value_ms := ttft_ms(record)) is not None
    ]


def tokens(records: Iterable[Record], now_ns: int) -> list[Sample]:
    return [
        Sample(
            record.request_class.value,
            now_ns if record.ended_ns is None else record.ended_ns,
            value_ms,
        )
        for record in records
        if (value_ms := tpot_ms(record, now_ns)) is not None
    ]


def series(
    samples: Iterable[Sample], now_ns: int
) -> dict[str, list[tuple[int, int, float, float]]]:
    """By class, the buckets in which there was anything."""
    first = now_ns // BUCKET_NS - BUCKETS + 1
    buckets: dict[tuple[str, int], list[float]] = defaultdict(list)
    for sample in samples:
        bucket = sample.at_ns // BUCKET_NS
        if bucket >= first:
            buckets[sample.workload, bucket].append(sample.value_ms)
    rows: dict[str, list[tuple[int, int, float, float]]] = defaultdict(list)
    for (workload, bucket), values in sorted(buckets.items(), key=lambda item: item[0][1]):
        values.sort()
        row = (bucket, len(values), percentile(values, 50), percentile(values, 95))
        rows[workload].append(row)
    return dict(rows)


def medians(samples: Iterable[Sample], now_ns: int) -> dict[str, float]:
    """By class, of the last minute."""
    lately: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        if now_ns - sample.at_ns <= LATELY_NS:
            lately[sample.workload].append(sample.value_ms)
    return {name: percentile(sorted(values), 50) for name, values in sorted(lately.items())}


def percentile(ordered: Sequence[float], percent: int) -> float:
    """By nearest rank."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]
