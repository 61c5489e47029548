"""What the moves of one term came to, counted as they end. Metrics read it."""

from __future__ import annotations

from collections import Counter

from orchestrator.control.durations import Durations
from orchestrator.policy.fleet import MoveReason
from protos.moves import MoveOutcome, MoveReport

# From one block on one machine to a stop that a reader sees.
_DOWNTIME_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)


class MoveTotals:
    """They only grow. One writer: the Orchestrator whose moves they are."""

    def __init__(self) -> None:
        self.ended = Counter({(why, how): 0 for why in MoveReason for how in MoveOutcome})
        self.blocks_sent = 0
        self.blocks_shared = 0  # that the target had already
        self.downtime = Durations(_DOWNTIME_S)  # of what moved: from its last token to its next

    def add(self, reason: MoveReason, report: MoveReport) -> None:
        """One more move has ended."""
        self.ended[reason, report.outcome] += 1
        self.blocks_sent += report.blocks_sent
        self.blocks_shared += report.blocks_shared
        if report.outcome is MoveOutcome.MOVED:
            self.downtime.observe(report.frozen_ns)
