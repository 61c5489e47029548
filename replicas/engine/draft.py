"""A step in the making, and what is remembered of it until its outcome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from protos.hashing import BlockHash
from replicas.engine.marks import Mark
from replicas.engine.plan import BlockCopy, BlockLoad, BlockSave, Row, StepPlan, context_of
from replicas.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Step:
    """A plan, and whose rows it has."""

    plan: StepPlan
    sequences: tuple[Sequence, ...]  # one for each row
    admitted: tuple[Sequence, ...]  # for the first time
    marks: tuple[Mark, ...]


@dataclass(slots=True)
class Draft:
    """What the scheduler has put together so far."""

    budget: int  # tokens that can still be added
    saves: list[BlockSave] = field(default_factory=list)
    copies: list[BlockCopy] = field(default_factory=list)
    loads: list[BlockLoad] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    sequences: list[Sequence] = field(default_factory=list)
    admitted: list[Sequence] = field(default_factory=list)
    paused: list[Sequence] = field(default_factory=list)  # preempted, and saved by this step
    marks: list[Mark] = field(default_factory=list)
    prefill_tokens: int = 0
    prefill_context: int = 0
    names: set[BlockHash] = field(default_factory=set)  # of the blocks that this step fills
    steps_max: int = 1

    def add(self, sequence: Sequence) -> None:
        """Feed as much of the sequence as the budget allows."""
        start = sequence.computed
        stop = min(sequence.length, start + self.budget)
        self.budget -= stop - start
        if sequence.is_prefilling:
            self.prefill_tokens += stop - start
            self.prefill_context += context_of(start, stop)
        tokens, samples = sequence.tokens(start, stop), sequence.samples(stop)
        self.rows.append(Row(tokens, start, tuple(sequence.block_table), samples))
        self.sequences.append(sequence)
        self.fill(sequence, start, stop)

    def fill(self, sequence: Sequence, start: int, stop: int) -> None:
        """Note that this step puts the KV of these tokens in place: who needs it may wait."""
        blocks = range(start // sequence.block_size, stop // sequence.block_size)
        self.names.update([sequence.block_name(index) for index in blocks])

    def pause(self, sequence: Sequence, saves: Iterable[BlockSave]) -> None:
        """Save what it is about to lose, before anybody is admitted."""
        assert not self.loads, "a save behind a load, which it may overwrite"
        self.paused.append(sequence)
        self.saves.extend(saves)

    def limit(self, tokens: int) -> None:
        """Let no more than so many be added from now on."""
        self.budget = min(self.budget, tokens)

    def finished(self) -> Step | None:
        """The step, unless nothing was added."""
        if not self.rows:
            assert not self.copies and not self.loads, "blocks are filled, and no row reads them"
            return None
        plan = StepPlan(
            copies=tuple(self.copies),
            rows=tuple(self.rows),
            prefill_tokens=self.prefill_tokens,
            prefill_context=self.prefill_context,
            is_full=not self.budget,
            steps_max=self.steps_max,
            saves=tuple(self.saves),
            loads=tuple(self.loads),
        )
        return Step(plan, tuple(self.sequences), tuple(self.admitted), tuple(self.marks))
