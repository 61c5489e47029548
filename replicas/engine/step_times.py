"""What steps take: their recent mean, and what those full of prompts got done.

A step is *full* when it spent its whole token budget, or what is left of it to
others beside the interactive class, so that more was there to compute. Only full
steps say how fast a replica computes prompts: the others are as long as the
traffic made them. Whoever drives an engine measures its steps, with the clock of
its world, and adds them here.
"""

from __future__ import annotations

from replicas.engine.plan import StepPlan

# Weight of the newest step in the mean, as a shift: an eighth follows a change
# of load within about twenty steps and forgets a single slow one as fast.
_NEWEST_SHIFT = 3


class StepTimes:
    """Durations of one engine's steps."""

    def __init__(self) -> None:
        self.mean_ns = 0  # recent, 0 before the first step
        self.full_ns = 0  # total of the full steps that computed prompts
        self.full_prefill_tokens = 0  # what they computed of prompts
        self.full_prefill_context = 0  # and what these tokens attended to

    def add(self, plan: StepPlan, took_ns: int, steps: int = 1) -> None:
        """One more step, or as many by one plan, that took so long together."""
        step_ns = took_ns // steps
        for _ in range(steps):
            if self.mean_ns == 0:
                self.mean_ns = step_ns
            else:
                self.mean_ns += (step_ns - self.mean_ns) >> _NEWEST_SHIFT
        if plan.is_full and plan.prefill_tokens:
            self.full_ns += took_ns
            self.full_prefill_tokens += plan.prefill_tokens
            self.full_prefill_context += plan.prefill_context
