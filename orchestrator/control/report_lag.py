"""How late reports are, told from when they show what was placed.

A report says how many sequences its replica has been given so far: those that
have ended, that run and that wait. A gateway that hears of every placement
counts the same. Late reports make the one count run behind the other one, and
the lag is by how much: of all that are tried, the one at which the two grew
most alike over the last placements, by the sum of squared differences.

Whatever else makes them differ (a request that was refused, cancelled or moved,
a placement of which nobody told us) counts the same for every lag. Reports are
taken for fresh unless enough has been seen, and a lag explains it far better
than none does, and than if nothing had been placed: reports that show nothing tell
nothing. Of lags that explain it alike, as where requests come like clockwork, the
smallest counts. All replicas' reports come the same way, so what is learned
of one holds for all.

Bounds: the lags that are tried, and placements for as long as the largest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from protos.messages import Snapshot

NS_PER_S = 1_000_000_000
LAG_NS_MAX = 30 * NS_PER_S
LAGS_NS = tuple(range(0, LAG_NS_MAX + 1, NS_PER_S // 2))
# Counts are compared over so long: a placement on the edge of it counts on either side, so that a
# lag which is off by half a step is still much closer than one that is wrong.
INTERVAL_NS = 2 * NS_PER_S
INTERVAL_NS_MAX = 10 * NS_PER_S  # over a longer silence nothing is compared
PLACEMENTS_REMEMBERED = 100
# Squares: as much as ten placements in the wrong place, and a third of it.
ERROR_MIN = 20.0
CLEARLY = 1 / 3


class ReportLag:
    """Of one gateway."""

    def __init__(self) -> None:
        self.lag_ns = 0
        self._errors = [0.0] * len(LAGS_NS)
        self._shown = 0.0  # the same, had nothing been placed

    def learn(self, shown: int, placed: Sequence[int]) -> None:
        """In one interval reports showed so many new sequences; by each lag there were these."""
        kept = max(0.0, 1 - placed[0] / PLACEMENTS_REMEMBERED)
        self._errors = [
            kept * error + (shown - count) ** 2
            for error, count in zip(self._errors, placed, strict=True)
        ]
        self._shown = kept * self._shown + shown**2
        to_explain, least = min(self._errors[0], self._shown), min(self._errors)
        is_late = to_explain >= ERROR_MIN and least < CLEARLY * to_explain
        self.lag_ns = LAGS_NS[self._errors.index(least)] if is_late else 0


class Given:
    """What one replica was given: by our own count, and by its reports. Times never go back."""

    def __init__(self) -> None:
        self._placed_ns: list[int] = []
        self._compared: Snapshot | None = None
        self._compared_ns = 0

    def place(self, sequences: int, now_ns: int) -> None:
        """So many were sent there."""
        self._placed_ns.extend([now_ns] * sequences)

    def report(self, snapshot: Snapshot, now_ns: int, lag: ReportLag) -> None:
        """Teach `lag` what this report shows, once in an interval."""
        before, elapsed_ns = self._compared, now_ns - self._compared_ns
        if before is not None and before.epoch == snapshot.epoch:
            if elapsed_ns < INTERVAL_NS:
                return
            if elapsed_ns <= INTERVAL_NS_MAX:
                shown = sequences_given(snapshot) - sequences_given(before)
                lag.learn(shown, [self._count(now_ns - each, elapsed_ns) for each in LAGS_NS])
        self._compared, self._compared_ns = snapshot, now_ns
        del self._placed_ns[: bisect_right(self._placed_ns, now_ns - LAG_NS_MAX)]

    def _count(self, until_ns: int, elapsed_ns: int) -> int:
        placed_ns = self._placed_ns
        return bisect_right(placed_ns, until_ns) - bisect_right(placed_ns, until_ns - elapsed_ns)


def sequences_given(snapshot: Snapshot) -> int:
    """That have come to the replica in its epoch and were not called off."""
    under_way = snapshot.sequences_running + snapshot.sequences_waiting
    return snapshot.counters.requests_finished + under_way
