"""How many prompt tokens replicas compute in a second, learned from their reports.

Only full steps count, in which more prompt tokens waited than the step took:
others measure the traffic, not the replica. Recent ones weigh more.

Replicas of one card are alike until shown otherwise: what a few steps took
says more about the prompts that happened to be in them than about the
replica, and a router that believes such differences runs after noise. So
each begins with the fleet's rate as so many seconds of evidence, which its
own measurements outweigh in time, if they differ for long.
"""

from __future__ import annotations

from collections.abc import Iterable

from protos.messages import Snapshot

NS_PER_S = 1_000_000_000
# Of full steps: after so much time of them, what was measured before counts half.
HALF_LIFE_NS = 60 * NS_PER_S
# The fleet's rate counts as if it had been measured on a replica for so long.
FLEET_NS = 30 * NS_PER_S


class PrefillRate:
    """Evidence of one replica: prompt tokens, and the time of the full steps that took."""

    def __init__(self) -> None:
        self.tokens = 0.0
        self.ns = 0.0

    def observe(self, earlier: Snapshot, later: Snapshot) -> None:
        """Learn from two successive reports of one epoch."""
        ns = later.full_ns - earlier.full_ns
        if ns > 0:
            kept = 0.5 ** (ns / HALF_LIFE_NS)
            tokens = later.full_prefill_tokens - earlier.full_prefill_tokens
            self.tokens = self.tokens * kept + tokens
            self.ns = self.ns * kept + ns

    def among(self, fleet: float | None) -> float | None:
        """Tokens a second of this replica, of a fleet with this rate."""
        if fleet is None:
            return None
        fleet_s = FLEET_NS / NS_PER_S
        return (self.tokens + fleet * fleet_s) / (self.ns / NS_PER_S + fleet_s)


def fleet_rate(rates: Iterable[PrefillRate]) -> float | None:
    """Tokens a second of them all together; None until one has been busy."""
    tokens = ns = 0.0
    for rate in rates:
        tokens += rate.tokens
        ns += rate.ns
    return tokens / ns * NS_PER_S if ns else None
