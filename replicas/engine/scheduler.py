"""Continuous batching: who runs in the next step, on which blocks.

All sequences stand in one line by arrival. A cut divides it: before the cut
they run, behind it they wait. Admission takes the head of those waiting,
preemption the last of those running, so the cut only moves, nobody overtakes,
and a preempted sequence is in its old place without being put there.

A step spends one token budget: first one token for each decode, then the
prefills begun, then admissions. An admission takes the blocks of all tokens
known, so a prefill once begun lacks nothing, and only a decode can find the
pool empty. Then the last running sequence gives its blocks back (the named
ones stay cached) and later computes again what was evicted meanwhile.

Progress: the oldest sequence is never preempted while another runs, and alone
it fits (`refusals`), so each step moves it. Blocks freed by a preemption go to
older sequences, which leaves less than the preempted one held: it comes back
when others finish, or when they hold a prefix that it can share. So sequences
do not take turns in throwing each other out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from protos.hashing import BlockHash
from replicas.engine.block_pool import BlockPool
from replicas.engine.config import EngineConfig
from replicas.engine.plan import BlockCopy, Row, StepPlan
from replicas.engine.prefix_cache import PrefixCache
from replicas.engine.sequence import Sequence, SequenceState


@dataclass(frozen=True, slots=True)
class Step:
    """A plan, and what must be remembered of it until its outcome."""

    plan: StepPlan
    sequences: tuple[Sequence, ...]  # one for each row
    admitted: tuple[Sequence, ...]  # for the first time
    preemptions: int


@dataclass(slots=True)
class _Draft:
    """A step in the making."""

    budget: int
    copies: list[BlockCopy] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    sequences: list[Sequence] = field(default_factory=list)
    admitted: list[Sequence] = field(default_factory=list)
    preemptions: int = 0
    prefill_tokens: int = 0
    names: set[BlockHash] = field(default_factory=set)  # of the blocks that this step fills

    def add(self, sequence: Sequence) -> None:
        """Feed as much of the sequence as the budget allows."""
        start = sequence.computed
        stop = min(sequence.length, start + self.budget)
        self.budget -= stop - start
        if sequence.is_prefilling:
            self.prefill_tokens += stop - start
        row = Row(
            tokens=sequence.tokens(start, stop),
            start=start,
            block_table=tuple(sequence.block_table),
            samples=sequence.samples(stop),
        )
        self.rows.append(row)
        self.sequences.append(sequence)
        for index in range(start // sequence.block_size, stop // sequence.block_size):
            self.names.add(sequence.block_name(index))

    def finished(self) -> Step:
        assert self.rows, "sequences are there, and none of them can run"
        return Step(
            plan=StepPlan(
                copies=tuple(self.copies),
                rows=tuple(self.rows),
                prefill_tokens=self.prefill_tokens,
                is_full=not self.budget,
            ),
            sequences=tuple(self.sequences),
            admitted=tuple(self.admitted),
            preemptions=self.preemptions,
        )


class Scheduler:
    """Owns the line of sequences; the only one that moves blocks into and out of tables."""

    def __init__(self, config: EngineConfig, pool: BlockPool, cache: PrefixCache) -> None:
        self._config = config
        self._pool = pool
        self._cache = cache
        self.running: list[Sequence] = []  # both in order of place, and all of
        self.waiting: deque[Sequence] = deque()  # these behind all of those

    def enqueue(self, sequence: Sequence) -> None:
        """A newcomer goes to the end of the line."""
        self._cache.look_up(sequence)
        self.waiting.append(sequence)

    def schedule(self) -> Step | None:
        """The next step, its blocks taken; None when the line is empty."""
        if not self.running and not self.waiting:
            return None
        draft = _Draft(budget=self._config.step_tokens_max)
        self._add_decodes(draft)
        self._add_prefills(draft)
        self._add_admissions(draft)
        return draft.finished()

    def fork(self, parent: Sequence) -> list[Sequence]:
        """All siblings that the parent owes, running beside it on the same blocks."""
        siblings = [parent.fork() for _ in range(parent.unforked)]
        for sibling in siblings:
            for block in sibling.block_table:
                self._pool.share(block)
        after = self.running.index(parent) + 1
        self.running[after:after] = siblings
        return siblings

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out of the line, finished or cancelled; its blocks are free at once."""
        if sequence.state is SequenceState.RUNNING:
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        sequence.move_to(SequenceState.FINISHED)
        self._pool.release_table(sequence.block_table)

    def prefill_tokens_left(self) -> int:
        """Known tokens still to be computed; of those that wait, less what was found for them."""
        size = self._config.card.block_size
        begun = sum(max(0, sequence.prefill_end - sequence.computed) for sequence in self.running)
        return begun + sum(sequence.length - sequence.found * size for sequence in self.waiting)

    def blocks_wanted(self) -> int:
        """Available blocks that the waiting ones will take; what others hold, they share."""
        return sum(
            self.blocks_of(sequence.length) - sequence.found_in_use for sequence in self.waiting
        )

    def blocks_of(self, tokens: int) -> int:
        """Blocks that hold so many tokens."""
        return -(-tokens // self._config.card.block_size)

    def check(self) -> None:
        """Assert that the line is a line, and that every table fits its sequence."""
        line = [*self.running, *self.waiting]
        places = [sequence.place for sequence in line]
        assert places == sorted(set(places)), f"the line is out of order: {places}"
        assert self._sequences_reserved() <= self._config.sequences_max, "too many run"
        for sequence in self.running:
            _check_running(sequence)
        for sequence in self.waiting:
            assert sequence.state in (SequenceState.WAITING, SequenceState.PREEMPTED)
            assert not sequence.block_table and not sequence.computed and not sequence.named

    def _add_decodes(self, draft: _Draft) -> None:
        for sequence in tuple(self.running):
            if not draft.budget:
                return
            # One that was preempted meanwhile prefills, too: it has to begin again.
            if not sequence.is_prefilling and self._make_room(sequence, draft):
                draft.add(sequence)

    def _add_prefills(self, draft: _Draft) -> None:
        for sequence in self.running:
            if draft.budget and sequence.is_prefilling:
                draft.add(sequence)

    def _add_admissions(self, draft: _Draft) -> None:
        while draft.budget and self.waiting and self._admit_head(draft):
            draft.add(self.running[-1])

    def _make_room(self, sequence: Sequence, draft: _Draft) -> bool:
        """Give a decode a slot that is its own; False when it had to be preempted itself."""
        while self._lacks_block(sequence) and not self._pool.blocks_available:
            victim = self.running[-1]
            self._preempt(victim)
            draft.preemptions += 1
            if victim is sequence:
                return False
        if not self._lacks_block(sequence):
            return True
        block = self._pool.allocate()
        slots = sequence.computed % sequence.block_size
        if slots:  # the last block is shared with a sibling: write to a copy
            shared = sequence.block_table.pop()
            draft.copies.append(BlockCopy(source=shared, target=block, slots=slots))
            self._pool.release(shared)
        sequence.block_table.append(block)
        return True

    def _lacks_block(self, sequence: Sequence) -> bool:
        """Whether its next slot is in no block yet, or in one that others read."""
        if sequence.computed % sequence.block_size == 0:
            return True
        return self._pool.references(sequence.block_table[-1]) > 1

    def _preempt(self, sequence: Sequence) -> None:
        assert sequence is self.running[-1], "only the last one may be preempted"
        self._pool.release_table(self.running.pop().block_table)
        sequence.preempt()
        self.waiting.appendleft(sequence)

    def _admit_head(self, draft: _Draft) -> bool:
        """Let the head of those waiting run, if there is room beside those running."""
        head = self.waiting[0]
        beside = self._sequences_reserved() + head.unforked
        if beside + 1 > self._config.sequences_max:
            return False
        self._cache.match(head)
        blocks = self.blocks_of(head.length) - len(head.block_table)
        # Alone it may take everything; beside others it leaves them room to grow.
        spare = self._config.watermark_blocks * beside if self.running else 0
        if self._pool.blocks_available < blocks + spare or self._is_being_filled(head, draft):
            self._cache.put_back(head)
            return False
        head.block_table.extend(self._pool.allocate() for _ in range(blocks))
        if head.state is SequenceState.WAITING:
            draft.admitted.append(head)
        head.admit()
        self.running.append(self.waiting.popleft())
        return True

    def _is_being_filled(self, head: Sequence, draft: _Draft) -> bool:
        """Whether its next block is filled in this very step: then a step's wait is a hit."""
        full = (head.named + 1) * head.block_size < head.length
        return full and head.block_name(head.named) in draft.names

    def _sequences_reserved(self) -> int:
        return sum(1 + sequence.unforked for sequence in self.running)


def _check_running(sequence: Sequence) -> None:
    size, held = sequence.block_size, len(sequence.block_table) * sequence.block_size
    label = f"{sequence.request.request_id}/{sequence.choice}"
    assert sequence.state is SequenceState.RUNNING, f"{label} is not running"
    assert sequence.named * size <= sequence.computed < sequence.length, f"{label} is miscounted"
    assert sequence.computed <= held < sequence.length + size, f"{label} holds {held} slots"
