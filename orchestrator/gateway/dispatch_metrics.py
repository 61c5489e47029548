"""Dispatch's totals as metrics, read when somebody asks for them.

The labels are the closed enums that dispatch decides by, so that a chart, a
log line and a test speak of the same reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.control.seams import LossReason
from orchestrator.gateway.dispatch import Dispatch
from orchestrator.gateway.metrics import PREFIX
from orchestrator.gateway.totals import AdoptionEnd, HandoffKind, RetryReason, Totals
from orchestrator.policy.admit import AdmitReason
from orchestrator.policy.route import RouteReason
from protos.messages import RequestClass

Reason = TypeVar("Reason", bound=Enum)


COUNTERS: Mapping[str, tuple[str, Callable[[Totals], int]]] = {
    "registry_missed": ("Requests routed without the registry", lambda t: t.registry_missed),
    "registry_hit_blocks": (
        "Blocks that the registry said the chosen replica had",
        lambda t: t.registry_hit_blocks,
    ),
    "registry_false_hit_blocks": (
        "Of those, what it did not have",
        lambda t: t.registry_false_hit_blocks,
    ),
    "intended_hit_blocks": (
        "Blocks that were to be there soon, because of a placement before",
        lambda t: t.intended_hit_blocks,
    ),
    "intended_false_hit_blocks": (
        "Of those, what had not come true",
        lambda t: t.intended_false_hit_blocks,
    ),
    "streams_lost": ("Streams cut by a lost replica", lambda t: t.streams_lost),
    "streams_taken_over": (
        "Streams begun by a gateway that their clients lost",
        lambda t: t.streams_taken_over,
    ),
    "streams_broken": ("Streams with a gap or a repetition", lambda t: t.streams_broken),
}


class DispatchCollector(Collector):
    """Of one dispatch."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    def collect(self) -> Iterable[Metric]:
        """Everything that dispatch counts, as it stands now."""
        totals = self._dispatch.totals
        waiting = GaugeMetricFamily(
            f"{PREFIX}requests_waiting", "Requests in the gateway's line", labels=["class"]
        )
        for each in RequestClass:
            waiting.add_metric([each.value], self._dispatch.waiting_of(each))
        yield waiting
        yield GaugeMetricFamily(
            f"{PREFIX}cluster_blocks_stranded",
            "KV blocks that are unused and of no use to who waits",
            self._dispatch.blocks_stranded(),
        )
        for name, (help_text, read) in COUNTERS.items():
            yield CounterMetricFamily(f"{PREFIX}{name}", help_text, read(totals))
        yield _by_reason("requests_placed", "Placements by reason", RouteReason, totals.placed)
        yield _by_class("requests_queued", "Requests that joined the line", totals.queued)
        yield _by_class("requests_turned_away", "Refused by admission", totals.turned_away)
        yield _by_reason(
            "requests_retried", "Taken back from a replica", RetryReason, totals.retried
        )
        yield _by_reason(
            "streams_resumed",
            "Streams that lost a replica and went on",
            LossReason,
            totals.streams_resumed,
        )
        yield _by_reason(
            "handoffs", "Choices that a replica gave away", HandoffKind, totals.handoffs
        )
        yield _by_reason(
            "adoptions", "Moved choices, and what came of them", AdoptionEnd, totals.adoptions
        )
        yield _by_reason(
            "takeovers",
            "Choices of such streams, and where they were",
            AdoptionEnd,
            totals.takeovers,
        )


def _by_reason(
    name: str, help_text: str, reasons: type[Reason], counts: Mapping[Reason, int]
) -> CounterMetricFamily:
    """Those of every reason: what has not happened yet is 0, so that its first time is a rise."""
    family = CounterMetricFamily(f"{PREFIX}{name}", help_text, labels=["reason"])
    for reason in reasons:
        family.add_metric([str(reason.value)], counts.get(reason, 0))
    return family


def _by_class(
    name: str, help_text: str, counts: Mapping[tuple[RequestClass, AdmitReason], int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"{PREFIX}{name}", help_text, labels=["class", "reason"])
    for request_class in RequestClass:
        for reason in AdmitReason:
            count = counts.get((request_class, reason), 0)
            family.add_metric([request_class.value, reason.value], count)
    return family
