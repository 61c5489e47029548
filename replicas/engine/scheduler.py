"""Continuous batching: who runs in the next step, on which blocks.

All sequences stand in one line (replicas.engine.line), better classes first.
Only the head of those waiting is ever admitted, only the last of those running
is ever preempted, so inside a class nobody overtakes who has begun, and of the
others only those pass who are due before.

A step spends one token budget: first one token for each decode, then class by
class the prompts, so that a long one of a worse class holds up no better one
for more than a step; and while the interactive class is about, worse ones fill
only a part of it. Inside a class a prompt that has begun shares the budget with
the heads of those waiting by who is due first. Everybody is due the later the
more he asks for, so a long prompt lets those pass, and only those, who come
while it would be computed and are done before: the mean first token comes
earlier, and no prompt waits for more than came in its own time.

An admission takes the blocks of all tokens known, so a prefill once begun lacks
nothing, and only a decode can find the pool empty. Then the last running
sequence gives its blocks back (the named ones stay cached) and later computes
again what was evicted meanwhile, or has it loaded from host memory, where that is
cheaper (replicas.engine.host_pool). So does, before a step, who is of a worse
class than a head that lacks room. A reservation, made for a sequence that is
still on its way, yields before both.

Progress: the first one in the line is never preempted while another runs, and
alone it fits (`refusals`), so each step moves it, or one of the finitely many
that are due before it. When it waits, all that run are of worse classes; it
takes their room at once, or at the latest when it has
outlived their decodes, as none of them is admitted again while it waits.
Others give way to a head only where that lets it in: nobody is preempted in
vain. Blocks freed by a preemption go to sequences further ahead, which leaves
less than the preempted one held: it comes back when others finish, or when
they hold a prefix that it can share. So sequences do not take turns in
throwing each other out. What a worse class gets while better ones fill the
engine is nothing: shares are decided before requests are sent here.

A held sequence, whose first blocks are on their way here, stands beside the line
and is in no step. What it has of them it keeps from being evicted, until
somebody lacks a block: then it keeps nothing, and they are cached like any other.

A frozen sequence keeps its place and its blocks and is in no step. It yields
like any other, in its turn: its blocks are about to be free anyway, and to take
them earlier would throw a whole transfer away. While nothing but frozen
sequences has room there is no step, although the line is not empty; each of
them soon leaves or thaws.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as ReadOnly

from protos.messages import RequestClass
from replicas.engine.block_pool import BlockPool
from replicas.engine.config import EngineConfig
from replicas.engine.draft import Draft, Step
from replicas.engine.guesses import add_guesses
from replicas.engine.host_pool import HostPool
from replicas.engine.line import Line
from replicas.engine.marks import Work, mark
from replicas.engine.plan import BlockCopy
from replicas.engine.prefix_cache import PrefixCache
from replicas.engine.room import Room
from replicas.engine.sequence import Sequence, SequenceState
from replicas.engine.steps_alike import steps_alike

RANKS = range(len(RequestClass))


class Scheduler:
    """Owns the line of sequences; the only one that moves blocks into and out of tables."""

    def __init__(self, config: EngineConfig, pool: BlockPool, cache: PrefixCache) -> None:
        self._config = config
        self._pool = pool
        self._cache = cache
        self.line = Line()
        self.room = Room(config, pool, self.line)
        self.host = HostPool(config, pool)
        self.preemptions = 0
        self.pauses = 0  # of these, those whose KV was saved

    @property
    def running(self) -> list[Sequence]:
        """Those that have blocks, in order of place."""
        return self.line.running

    @property
    def waiting(self) -> list[Sequence]:
        """Those that have none, in order of place."""
        return self.line.waiting

    def enqueue(self, sequence: Sequence) -> None:
        """A newcomer goes to its place among those of its class who wait."""
        self._cache.look_up(sequence)
        self._give_time(sequence)
        self.line.join(sequence)

    def schedule(self) -> Step | None:
        """The next step, its blocks taken; None when nobody is here who could run."""
        if self.line.is_empty:
            return None
        draft = Draft(budget=self._config.step_tokens_max)
        self.room.begin_steps()
        self._make_way(draft)
        self._add_decodes(draft)
        begun = [sequence for sequence in self.running if _is_prefilling(sequence)]
        for rank in RANKS if begun or self.waiting else ():
            if rank and not self.room.is_lent:
                draft.limit(self._config.yielding_tokens_max)
            self._add_prompts(draft, rank, [each for each in begun if each.rank == rank])
        if self._config.guesses_max:
            if not self.room.is_lent:
                draft.limit(self._config.yielding_tokens_max)
            add_guesses(draft, self._config.guesses_max)
        if self._config.steps_max > 1:
            draft.steps_max = steps_alike(draft, self.line, limit=self._config.steps_max)
        step = draft.finished()
        if step is None:  # and so nothing is saved: frozen ones alone have blocks
            for sequence in draft.paused:
                self.host.forget(sequence)
        else:
            self.pauses += len(draft.paused)
        frozen = [sequence.state is SequenceState.FROZEN for sequence in self.running]
        assert step or (frozen and all(frozen)), "sequences are there, and none of them can run"
        return step

    def fork(self, parent: Sequence) -> list[Sequence]:
        """All siblings that the parent owes, running beside it on the same blocks."""
        siblings = [parent.fork() for _ in range(parent.unforked)]
        for sibling in siblings:
            for block in sibling.block_table:
                self._pool.share(block)
        self.line.fork(parent, siblings)
        return siblings

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out of the line for good; its blocks are free at once."""
        self.line.leave(sequence)
        self.host.forget(sequence)
        sequence.move_to(SequenceState.FINISHED)
        self._pool.release_table(sequence.block_table)

    # ---- sequences whose first blocks are on their way here

    def hold(self, sequence: Sequence, wanted: int) -> None:
        """Let one that waits stand aside until its first `wanted` blocks are here."""
        self.line.hold(sequence)
        sequence.move_to(SequenceState.HELD)
        sequence.wanted = wanted
        self.keep(sequence)

    def keep(self, sequence: Sequence) -> None:
        """Let a held one keep what is here of its first blocks from being evicted."""
        self._cache.put_back(sequence)
        self._cache.match(sequence)
        sequence.computed = sequence.named * sequence.block_size

    def let_go(self, sequence: Sequence) -> None:
        """Let a held one take its place among those that wait. What it kept is cached."""
        self._unkeep(sequence)
        self._give_time(sequence)
        self.line.let_go(sequence)
        sequence.move_to(SequenceState.WAITING)

    def add_blocks(self, sequence: Sequence, count: int) -> bool:
        """Let a held table grow by so many, evicting if need be; False without room."""
        if not self.room.can_spare(count, sequence):
            return False
        sequence.block_table.extend(self._pool.allocate() for _ in range(count))
        return True

    def name_blocks(self, sequence: Sequence) -> bool:
        """All that was added to a held table is in place; False if it cannot all be named."""
        first = sequence.named
        sequence.computed = len(sequence.block_table) * sequence.block_size
        self._cache.store(sequence)
        sequence.computed = sequence.named * sequence.block_size
        sequence.copied = range(sequence.copied.start if sequence.copied else first, sequence.named)
        return sequence.named == len(sequence.block_table)

    def settle(self, sequence: Sequence) -> None:
        """Give back the blocks of a held table that have no name."""
        while len(sequence.block_table) > sequence.named:
            self._pool.release(sequence.block_table.pop())

    def _give_time(self, sequence: Sequence) -> None:
        """It is due the later the more of it is to be computed."""
        tokens = sequence.length - sequence.found * sequence.block_size
        sequence.due_ns = sequence.begin_by_ns + tokens * self._config.prompt_token_ns

    def _unkeep(self, sequence: Sequence) -> None:
        self._cache.put_back(sequence)
        sequence.computed = 0

    # ---- sequences on their way here

    def reserve(self, sequence: Sequence) -> bool:
        """Hold the blocks of all its known tokens, shared where possible; False without room.

        It takes nothing from anybody, nor the room that others of its class wait for.
        """
        assert sequence.state is SequenceState.RESERVED and not sequence.unforked
        if self.line.waits_before(sequence.rank):
            return False
        self._cache.match(sequence)
        if not self.room.suffices(sequence):
            self._cache.put_back(sequence)
            return False
        self.line.reserved.append(sequence)
        return self.grow(sequence, self.room.blocks_of(sequence.length))

    def grow(self, sequence: Sequence, blocks: int) -> bool:
        """Let a reserved table hold so many blocks; False, and nothing done, without room."""
        missing = blocks - len(sequence.block_table)
        if missing > self._pool.blocks_available:
            return False
        sequence.block_table.extend(self._pool.allocate() for _ in range(missing))
        return True

    def take_over(self, sequence: Sequence) -> bool:
        """Let a reserved sequence run, its KV being in place; False without room."""
        tokens = sequence.length if sequence.is_prefilling else sequence.computed
        blocks = self.room.blocks_of(tokens)
        if not self.grow(sequence, blocks):
            return False
        while len(sequence.block_table) > blocks:
            self._pool.release(sequence.block_table.pop())
        self.line.reserved.remove(sequence)
        sequence.move_to(SequenceState.RUNNING)
        self.line.join_running(sequence)
        self._cache.store(sequence)
        return True

    def drop(self, sequence: Sequence) -> None:
        """Give the blocks of a reserved sequence back."""
        self.line.reserved.remove(sequence)
        sequence.move_to(SequenceState.FINISHED)
        self._pool.release_table(sequence.block_table)

    def check(self) -> None:
        """Assert that the line is a line, and that every table fits its sequence."""
        self.line.check()
        self.host.check((*self.running, *self.waiting, *self.line.reserved, *self.line.held))
        assert self.line.places_taken <= self._config.sequences_max, "too many run"
        for sequence in self.running:
            _check_running(sequence)
        for sequence in self.line.reserved:
            assert len(sequence.block_table) >= self.room.blocks_of(sequence.length)

    # ---- room for the head of the line

    def _make_way(self, draft: Draft) -> None:
        """Let as few as possible yield to the head, if that gives it the room that it lacks.

        One head for each step: the budget seldom admits more, and nobody loses
        its blocks before they are needed.
        """
        if not self.waiting:
            return
        head = self.waiting[0]
        rivals = self.room.rivals(head)
        if not rivals:
            return
        self._cache.match(head)
        yielding = self.room.rivals_to_yield(head, rivals)
        self._cache.put_back(head)
        for rival in rivals[:yielding]:
            self._yield(rival, draft)

    def _yield(self, sequence: Sequence, draft: Draft) -> None:
        """Take what a held one keeps, the blocks of a reservation, or of the last one that runs."""
        if sequence.state is SequenceState.HELD:
            self._unkeep(sequence)
        elif sequence.state is SequenceState.RESERVED:
            self.drop(sequence)
        else:
            draft.marks.append(mark(sequence, Work.PREEMPTED))
            if saves := self.host.save(sequence):
                draft.pause(sequence, saves)
            self._preempt(sequence)

    def _preempt(self, sequence: Sequence) -> None:
        self._pool.release_table(sequence.block_table)
        self.line.stop(sequence)
        sequence.preempt()
        self.preemptions += 1

    # ---- rows

    def _add_decodes(self, draft: Draft) -> None:
        for sequence in tuple(self.running):
            if not draft.budget:
                return
            # One that runs no more was preempted for one before it.
            is_decode = sequence.state is SequenceState.RUNNING and not sequence.is_prefilling
            if is_decode and self._make_room(sequence, draft):
                draft.add(sequence)

    def _add_prompts(self, draft: Draft, rank: int, prefills: ReadOnly[Sequence]) -> None:
        """Prefills begun, and the heads of those waiting, whoever is due before the others."""
        begun = deque(sorted(prefills, key=_due_ns))
        may_admit = True
        while draft.budget:
            head = self.waiting[0] if may_admit and self.waiting else None
            may_admit = head is not None and head.rank == rank
            if head is not None and may_admit and not (begun and begun[0].due_ns <= head.due_ns):
                may_admit = self._admit_head(draft, begun)
            elif begun:
                sequence = begun.popleft()
                draft.marks.append(mark(sequence, Work.CHUNK))
                draft.add(sequence)
            else:
                return

    def _make_room(self, sequence: Sequence, draft: Draft) -> bool:
        """Give a decode a slot that is its own; False when it had to be preempted itself."""
        while self._lacks_block(sequence):
            if self._pool.blocks_available:
                self._add_block(sequence, draft)
                return True
            victim = self._next_to_yield()
            self._yield(victim, draft)
            if victim is sequence:
                return False
        return True

    def _add_block(self, sequence: Sequence, draft: Draft) -> None:
        block = self._pool.allocate()
        slots = sequence.computed % sequence.block_size
        if slots:  # the last block is shared with a sibling: write to a copy
            shared = sequence.block_table.pop()
            draft.copies.append(BlockCopy(source=shared, target=block, slots=slots))
            self._pool.release(shared)
        sequence.block_table.append(block)

    def _next_to_yield(self) -> Sequence:
        keeping = next((held for held in reversed(self.line.held) if held.block_table), None)
        if keeping is not None:
            return keeping
        return self.line.reserved[-1] if self.line.reserved else self.running[-1]

    def _lacks_block(self, sequence: Sequence) -> bool:
        """Whether its next slot is in no block yet, or in one that others read."""
        if sequence.computed % sequence.block_size == 0:
            return True
        return self._pool.references(sequence.block_table[-1]) > 1

    def _admit_head(self, draft: Draft, begun: Iterable[Sequence]) -> bool:
        """Let the head of those waiting run, if there is room beside those running."""
        head = self.waiting[0]
        self._cache.match(head)
        if not self.room.suffices(head) or self._is_being_filled(head, draft, begun):
            self._cache.put_back(head)
            return False
        blocks = self.room.blocks_of(head.length) - len(head.block_table)
        head.block_table.extend(self._pool.allocate() for _ in range(blocks))
        if head.state is SequenceState.WAITING:
            draft.admitted.append(head)
            self._cache.count_finds(head)
        draft.marks.append(mark(head, Work.ADMITTED))
        head.admit()
        draft.loads.extend(self.host.load(head))
        draft.fill(head, head.named * head.block_size, head.computed)
        self.line.start(head)
        draft.add(head)
        return True

    def _is_being_filled(self, head: Sequence, draft: Draft, begun: Iterable[Sequence]) -> bool:
        """Whether its next block is filled in this step, or next by who has begun: then wait.

        It would compute the same again beside them, however soon it is due.
        """
        index = head.in_place(head.named) // head.block_size
        full = (index + 1) * head.block_size < head.length
        return full and (
            head.block_name(index) in draft.names
            or any(_fills_next(sequence, head, index) for sequence in begun)
        )


def _is_prefilling(sequence: Sequence) -> bool:
    return sequence.state is SequenceState.RUNNING and sequence.is_prefilling


def _fills_next(sequence: Sequence, head: Sequence, index: int) -> bool:
    """Whether the block that it fills next is the one at `index` that the head lacks."""
    is_there = sequence.named == index and (index + 1) * sequence.block_size <= sequence.length
    return is_there and sequence.block_name(index) == head.block_name(index)


def _due_ns(sequence: Sequence) -> int:
    return sequence.due_ns


def _check_running(sequence: Sequence) -> None:
    size, held = sequence.block_size, len(sequence.block_table) * sequence.block_size
    label = sequence.label
    assert sequence.named * size <= sequence.computed < sequence.length, f"{label} is miscounted"
    assert sequence.computed <= held < sequence.length + size, f"{label} holds {held} slots"
