"""How fast replicas compute prompts, learned from their reports.

A prompt token costs the compute that every token costs, and attention over all
tokens before it, its *context*. So work is counted in tokens without context:

    work = tokens + weight * context        context: summed over the tokens

The weight is the slope of a regression of time per token on mean context, over
the steps between two reports; the rate is the work done in a second. Only full
steps count, in which more prompt tokens waited than the step took: others
measure the traffic, not the replica. Recent ones weigh more. Where prompts are
short or all alike the slope means nothing, and the weight stays near 0.

Replicas of one card are alike until shown otherwise: what a few steps took
says more about the prompts that happened to be in them than about the
replica, and a router that believes such differences runs after noise. So
they share one weight, and each begins with the fleet's rate as so many
seconds of evidence, which its own measurements outweigh in time, if they
differ for long.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protos.messages import Snapshot

NS_PER_S = 1_000_000_000
# Of full steps: after so much time of them, what was measured before counts half.
HALF_LIFE_NS = 60 * NS_PER_S
# The fleet's rate counts as if it had been measured on a replica for so long.
FLEET_S = 30.0
# Doubt in the slope: as if so many tokens had been seen whose contexts differed by so much and
# whose times did not.
DOUBT = 100_000 * 10_000.0**2


@dataclass(frozen=True, slots=True)
class FleetRate:
    """Of all replicas of a card together."""

    work_per_s: float
    context_weight: float


class PrefillRate:
    """Evidence of one replica: decayed sums over the full steps between two reports."""

    def __init__(self) -> None:
        self.tokens = 0.0
        self.context = 0.0
        self.ns = 0.0
        self.context_squared = 0.0  # per token
        self.context_ns = 0.0  # per token

    def observe(self, earlier: Snapshot, later: Snapshot) -> None:
        """Learn from two successive reports of one epoch."""
        ns = later.full_ns - earlier.full_ns
        tokens = later.full_prefill_tokens - earlier.full_prefill_tokens
        if ns <= 0 or tokens <= 0:
            return
        context = later.full_prefill_context - earlier.full_prefill_context
        kept = 0.5 ** (ns / HALF_LIFE_NS)
        self.tokens = self.tokens * kept + tokens
        self.context = self.context * kept + context
        self.ns = self.ns * kept + ns
        self.context_squared = self.context_squared * kept + context * context / tokens
        self.context_ns = self.context_ns * kept + context * ns / tokens

    def among(self, fleet: FleetRate) -> float:
        """Work a second of this replica, of a fleet with this rate."""
        work = self.tokens + fleet.context_weight * self.context
        return (work + fleet.work_per_s * FLEET_S) / (self.ns / NS_PER_S + FLEET_S)


def fleet_rate(rates: Iterable[PrefillRate]) -> FleetRate | None:
    """What all of them show together; None until one has been busy."""
    seen = tuple(rates)
    tokens = sum(rate.tokens for rate in seen)
    context = sum(rate.context for rate in seen)
    ns = sum(rate.ns for rate in seen)
    if not ns:
        return None
    spread = sum(rate.context_squared for rate in seen) - context * context / tokens
    slope = (sum(rate.context_ns for rate in seen) - context * ns / tokens) / (spread + DOUBT)
    intercept = (ns - slope * context) / tokens
    weight = slope / intercept if slope > 0 < intercept else 0.0
    return FleetRate((tokens + weight * context) / ns * NS_PER_S, weight)
