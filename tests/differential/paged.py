"""Drive the runner by hand: plans for several sequences at once, no engine involved.

Each step gives every unfinished sequence one row: the next chunk of what is
not computed yet, and a sample when that reaches its end. Blocks are handed out
in shuffled order, so that nothing depends on their being neighbours.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from protos.messages import SampledToken, SamplingParams
from replicas.engine.plan import BlockId, Row, Sample, StepPlan
from replicas.model.loading import LoadedModel
from replicas.model.runner import TorchRunner

GREEDY = SamplingParams(tokens_max=1, temperature=0.0, logprobs=3)


@dataclass(slots=True)
class Line:
    """One sequence under way."""

    prompt: tuple[int, ...]
    table: tuple[BlockId, ...]
    computed: int = 0
    chosen: list[SampledToken] = field(default_factory=list)

    @property
    def output(self) -> tuple[int, ...]:
        return tuple(token.token for token in self.chosen)

    def row(self, chunk: int) -> Row:
        known = (*self.prompt, *self.output)
        tokens = known[self.computed : self.computed + chunk]
        complete = self.computed + len(tokens) == len(known)
        sample = Sample(GREEDY, 0, self.prompt, self.output)
        return Row(tokens, self.computed, self.table, (sample,) if complete else ())


class Driver:
    """A runner and the blocks of its pool."""

    def __init__(self, model: LoadedModel, *, blocks_total: int, block_size: int) -> None:
        self.block_size = block_size
        self._runner = TorchRunner(model, blocks_total=blocks_total, block_size=block_size)
        self._blocks = [BlockId(n) for n in range(blocks_total)]
        random.Random(3).shuffle(self._blocks)
        self._used = 0

    def line(self, prompt: Sequence[int], tokens: int, *, prefix: Line | None = None) -> Line:
        """A sequence with room for `tokens` more. With `prefix`, its leading full blocks that
        hold the same tokens are shared and counted as computed, as after a cache hit."""
        hit = 0
        if prefix is not None:
            alike = [a == b for a, b in zip(prompt, prefix.prompt, strict=False)]
            same = alike.index(False) if False in alike else len(alike)
            hit = min(same, len(prompt) - 1) // self.block_size
        needed = -(-(len(prompt) + tokens) // self.block_size) - hit
        own = self._blocks[self._used : self._used + needed]
        assert len(own) == needed, "the test's pool is too small"
        self._used += needed
        shared = prefix.table[:hit] if prefix is not None else ()
        return Line(tuple(prompt), (*shared, *own), computed=hit * self.block_size)

    def run(self, lines: Sequence[Line], tokens: int, *, chunk: int = 1 << 20) -> None:
        """Advance all lines together until each has chosen `tokens`."""
        while unfinished := [line for line in lines if len(line.chosen) < tokens]:
            rows = tuple(line.row(chunk) for line in unfinished)
            outcome = self._runner.run(StepPlan((), rows))
            for line, row, sampled in zip(unfinished, rows, outcome.sampled, strict=True):
                line.computed += len(row.tokens)
                line.chosen.extend(sampled)

    def release(self) -> None:
        """All blocks are free again; lines made so far are over."""
        self._used = 0
