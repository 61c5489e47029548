"""What the control plane counts, as metrics read when somebody asks for them.

A standby shows that it does not lead, and nothing else: what there was to count
of an earlier term ended with it. Counters begin at zero with each term.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from orchestrator.control.move_totals import MoveTotals
from orchestrator.gateway.metrics import PREFIX
from orchestrator.live.control_room import ControlRoom, NotLeading


class ControlCollector(Collector):
    """Of one control plane."""

    def __init__(self, room: ControlRoom) -> None:
        self._room = room

    def collect(self) -> Iterable[Metric]:
        """As it stands now."""
        try:
            totals = self._room.orchestrator.move_totals
        except NotLeading:
            totals = None
        yield GaugeMetricFamily(
            f"{PREFIX}leader", "Whether this control plane leads", int(totals is not None)
        )
        yield from families_of(totals or MoveTotals(), is_shown=totals is not None)


def families_of(totals: MoveTotals, *, is_shown: bool) -> Iterable[Metric]:
    """The families, with samples where there is somebody to answer for them."""
    moves = CounterMetricFamily(
        f"{PREFIX}moves",
        "Moves that ended, by why they were ordered and how they ended",
        labels=["reason", "outcome"],
    )
    blocks = CounterMetricFamily(
        f"{PREFIX}move_blocks",
        "KV blocks of moves: sent, or shared because the target had them",
        labels=["kind"],
    )
    downtime = HistogramMetricFamily(
        f"{PREFIX}move_downtime_seconds", "From the last token at the source until the target ran"
    )
    if is_shown:
        for (reason, outcome), count in totals.ended.items():
            moves.add_metric([reason.value, outcome.value], count)
        blocks.add_metric(["sent"], totals.blocks_sent)
        blocks.add_metric(["shared"], totals.blocks_shared)
        downtime.add_metric([], totals.downtime.buckets, totals.downtime.total_s)
    return moves, blocks, downtime
