"""What a step costs in time, as a formula over its plan.

    step + prefill + decode + guess + moves
    prefill   for each prompt token at position p:  a * (1 + p / c)
    decode    for each decoding sequence:           d + k * its KV tokens
    guess     for each guessed token: as for a prompt's
    moves     for each block saved or loaded:       m

`a` is the compute of a token, which attention doubles at position `c`; `k` is
the time to read one token's KV from memory; `m` is a block's way to host memory
or back. All times are integers of nanoseconds, so that a sum of costs does not
depend on its order.
"""

from __future__ import annotations

from dataclasses import dataclass

from replicas.engine.plan import Row, StepPlan


@dataclass(frozen=True, slots=True)
class CostModel:
    """The defaults are `h100-8b`: an 8B model with grouped KV heads on one H100."""

    step_ns: int = 8_000_000  # reading the weights, and the launch of it all
    prefill_token_ns: int = 50_000
    prefill_doubles_at: int = 60_000  # the position at which a prompt token costs twice as much
    decode_sequence_ns: int = 20_000
    kv_token_ns: int = 40  # 128 KiB at 3.3 TB/s
    host_block_ns: int = 42_000  # 16 tokens of 128 KiB at 50 GB/s: PCIe 5 with 16 lanes
    step_tokens_max: int = 2048  # the token budget under which these were measured

    def cost_ns(self, plan: StepPlan) -> int:
        """How long the step takes."""
        moves_ns = (len(plan.saves) + len(plan.loads)) * self.host_block_ns
        return self.step_ns + sum(map(self._row_ns, plan.rows)) + moves_ns

    def growth_ns(self, plan: StepPlan) -> int:
        """By how much each further step by a plan of decodes takes longer than the one before."""
        return self.kv_token_ns * len(plan.rows)

    def _row_ns(self, row: Row) -> int:
        tokens, start = len(row.tokens), row.start
        if row.samples and tokens == 1 + row.guesses:
            decode_ns = self.decode_sequence_ns + self.kv_token_ns * (start + 1)
            return decode_ns + self._prompt_ns(start + 1, row.guesses)
        return self._prompt_ns(start, tokens)

    def _prompt_ns(self, start: int, tokens: int) -> int:
        positions = tokens * (2 * start + tokens - 1) // 2  # their sum
        own_ns = self.prefill_token_ns
        return own_ns * tokens + own_ns * positions // self.prefill_doubles_at
