"""How many prompt tokens a replica computes in a second, learned from its reports.

Only intervals count in which prompts were waiting at both ends: then the
steps between were as full of prefill as the replica makes them. Other
intervals measure the traffic, not the replica. Recent intervals weigh more.
"""

from __future__ import annotations

from protos.messages import EngineCounters, Snapshot

NS_PER_S = 1_000_000_000
# Older intervals fade by this factor with each new one: about ten count.
FADING = 0.9


class PrefillRate:
    """A running estimate; None until a busy interval was seen."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._ns = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        return self._tokens / self._ns * NS_PER_S if self._ns else None

    def observe(self, earlier: Snapshot, later: Snapshot) -> None:
        """Learn from two successive reports of one epoch."""
        tokens = computed(later.counters) - computed(earlier.counters)
        elapsed_ns = (later.counters.steps - earlier.counters.steps) * later.step_ns
        busy = earlier.prefill_tokens_waiting > 0 and later.prefill_tokens_waiting > 0
        if busy and tokens > 0 and elapsed_ns > 0:
            self._tokens = self._tokens * FADING + tokens
            self._ns = self._ns * FADING + elapsed_ns


def computed(counters: EngineCounters) -> int:
    """Prompt tokens computed so far, those computed again included."""
    return counters.prefill_tokens + counters.recomputed_tokens
