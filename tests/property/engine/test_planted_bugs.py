"""The walk has teeth: every bug planted here, most of them once real somewhere, is found.

Method: break one method, switch the engine's own `check` off, and walk until
the shadow or an assertion in the code names the promise that this bug breaks.
Any other failure is a walk that stumbled, not one that saw. A planted bug that
survives all seeds means that the walk has gone blind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as ReadOnly
from dataclasses import replace

import pytest

from protos.messages import Delta, FinishReason, Refusal, Request, RequestId, SampledToken
from replicas.engine import guesses, prefix_cache, scheduler, steps_alike
from replicas.engine.block_pool import BlockPool
from replicas.engine.draft import Draft, Step
from replicas.engine.engine import Engine
from replicas.engine.host_pool import HostPool
from replicas.engine.plan import BlockCopy, BlockId, BlockLoad, BlockSave, Sample, StepOutcome
from replicas.engine.prefix_cache import PrefixCache
from replicas.engine.room import Room
from replicas.engine.scheduler import Scheduler
from replicas.engine.sequence import Sequence, SequenceState
from replicas.engine.stored import Stored
from replicas.engine.warming import Warming
from tests.property.engine.walk import CROWDED, MOVES, walk

SEEDS = 200
CROWDED_SEEDS = 400

Plant = Callable[[pytest.MonkeyPatch], None]


def a_table_is_released_twice(patch: pytest.MonkeyPatch) -> None:
    def release_table(self: BlockPool, table: list[BlockId]) -> None:
        for block in (*reversed(table), *table[-1:]):
            self.release(block)
        table.clear()

    patch.setattr(BlockPool, "release_table", release_table)


def a_release_ignores_other_holders(patch: pytest.MonkeyPatch) -> None:
    original = BlockPool.release

    def release(self: BlockPool, block: BlockId) -> None:
        self._references[block] = min(self._references[block], 1)
        original(self, block)

    patch.setattr(BlockPool, "release", release)


def a_shared_block_is_written_in_place(patch: pytest.MonkeyPatch) -> None:
    def lacks_block(self: Scheduler, sequence: Sequence) -> bool:
        return sequence.computed % sequence.block_size == 0

    patch.setattr(Scheduler, "_lacks_block", lacks_block)


def a_copy_on_write_does_not_copy(patch: pytest.MonkeyPatch) -> None:
    def short_copy(*, source: BlockId, target: BlockId, slots: int) -> BlockCopy:
        return BlockCopy(source=source, target=target, slots=slots - 1)

    patch.setattr(scheduler, "BlockCopy", short_copy)


def an_evicted_block_keeps_its_name(patch: pytest.MonkeyPatch) -> None:
    def evict(self: BlockPool) -> BlockId:
        block, _ = self._evictable.popitem(last=False)
        return block

    def allocate(self: BlockPool) -> BlockId:
        block = self._free.pop() if self._free else self._evict()
        self._references[block] = 1
        return block

    patch.setattr(BlockPool, "_evict", evict)
    patch.setattr(BlockPool, "allocate", allocate)


def an_eviction_goes_unreported(patch: pytest.MonkeyPatch) -> None:
    original = BlockPool._evict

    def evict(self: BlockPool) -> BlockId:
        block = original(self)
        self._events.pop()
        return block

    patch.setattr(BlockPool, "_evict", evict)


def a_table_is_released_head_first(patch: pytest.MonkeyPatch) -> None:
    def release_table(self: BlockPool, table: list[BlockId]) -> None:
        for block in table:
            self.release(block)
        table.clear()

    patch.setattr(BlockPool, "release_table", release_table)


def a_hit_is_not_pinned(patch: pytest.MonkeyPatch) -> None:
    original = BlockPool.share

    def share(self: BlockPool, block: BlockId) -> None:
        original(self, block)
        if self._references[block] == 1:
            self._evictable[block] = None

    patch.setattr(BlockPool, "share", share)


def a_block_is_findable_before_it_is_computed(patch: pytest.MonkeyPatch) -> None:
    original = Scheduler.schedule

    def schedule(self: Scheduler) -> Step | None:
        step = original(self)
        for sequence, row in zip(step.sequences, step.plan.rows, strict=True) if step else ():
            sequence.computed += len(row.tokens)
            self._cache.store(sequence)
            sequence.computed -= len(row.tokens)
        return step

    patch.setattr(Scheduler, "schedule", schedule)


def a_whole_prompt_comes_from_the_cache(patch: pytest.MonkeyPatch) -> None:
    def reusable_blocks(tokens: int, *, block_size: int) -> int:
        return tokens // block_size

    patch.setattr(prefix_cache, "reusable_blocks", reusable_blocks)


def a_salt_is_ignored(patch: pytest.MonkeyPatch) -> None:
    original = Engine.submit

    def submit(self: Engine, request: Request, *, now_ns: int) -> Refusal | None:
        return original(self, replace(request, salt=b""), now_ns=now_ns)

    patch.setattr(Engine, "submit", submit)


def a_sibling_takes_no_references(patch: pytest.MonkeyPatch) -> None:
    def fork(self: Scheduler, parent: Sequence) -> list[Sequence]:
        siblings = [parent.fork() for _ in range(parent.unforked)]
        after = self.running.index(parent) + 1
        self.running[after:after] = siblings
        return siblings

    patch.setattr(Scheduler, "fork", fork)


def a_preempted_sequence_keeps_its_progress(patch: pytest.MonkeyPatch) -> None:
    original = Sequence.preempt

    def preempt(self: Sequence) -> None:
        original(self)
        self.named = min(1, self.recomputed_end // self.block_size)

    patch.setattr(Sequence, "preempt", preempt)
    patch.setattr(PrefixCache, "match", lambda self, sequence: None)


def a_cancelled_row_is_applied(patch: pytest.MonkeyPatch) -> None:
    def cancel(self: Engine, request_id: RequestId) -> bool:
        found = request_id in self._live
        for sequence in self._live.get(request_id, ()):
            if self._in_flight is None or sequence not in self._in_flight.sequences:
                self._scheduler.remove(sequence)
                self._live[request_id] = [s for s in self._live[request_id] if s is not sequence]
        if not self._live.get(request_id):
            self._live.pop(request_id, None)
        return found

    patch.setattr(Engine, "cancel", cancel)


def a_stop_token_ends_too_early(patch: pytest.MonkeyPatch) -> None:
    original = Sequence.accept

    def accept(self: Sequence, sampled: SampledToken) -> FinishReason | None:
        finish = original(self, sampled)
        return FinishReason.STOP if sampled.token == 5 else finish

    patch.setattr(Sequence, "accept", accept)


def a_finished_choice_says_one_token_more(patch: pytest.MonkeyPatch) -> None:
    def accept(self: Sequence, sampled: SampledToken) -> FinishReason | None:
        self.output.append(sampled.token)
        return FinishReason.LENGTH if len(self.output) > self.output_max else None

    patch.setattr(Sequence, "accept", accept)


def the_head_of_the_line_is_overtaken(patch: pytest.MonkeyPatch) -> None:
    def preempt(self: Scheduler, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._pool.release_table(sequence.block_table)
        sequence.preempt()
        self.waiting.append(sequence)

    patch.setattr(Scheduler, "_preempt", preempt)


def a_resumed_choice_begins_anew(patch: pytest.MonkeyPatch) -> None:
    original = Engine.submit

    def submit(self: Engine, request: Request, *, now_ns: int) -> Refusal | None:
        return original(self, replace(request, output=()), now_ns=now_ns)

    patch.setattr(Engine, "submit", submit)


def a_resumed_choice_samples_as_the_first(patch: pytest.MonkeyPatch) -> None:
    original = Sequence.samples

    def samples(self: Sequence, stop: int) -> tuple[Sample, ...]:
        seed = self.request.sampling.seed - self.request.first_choice
        return tuple(
            replace(sample, seed=seed + index)
            for index, sample in enumerate(original(self, stop), self.choice)
        )

    patch.setattr(Sequence, "samples", samples)


def held_blocks_are_not_referenced(patch: pytest.MonkeyPatch) -> None:
    original = PrefixCache.match

    def match(self: PrefixCache, sequence: Sequence) -> None:
        original(self, sequence)
        if sequence.state is SequenceState.RESERVED:
            for block in sequence.block_table:
                self._pool.release(block)

    patch.setattr(PrefixCache, "match", match)


def a_reserved_block_is_findable_before_it_is_written(patch: pytest.MonkeyPatch) -> None:
    original = Scheduler.reserve

    def reserve(self: Scheduler, sequence: Sequence) -> bool:
        has_room = original(self, sequence)
        if has_room:
            sequence.computed = sequence.length - 1
            self._cache.store(sequence)
            sequence.computed = 0
        return has_room

    patch.setattr(Scheduler, "reserve", reserve)


def reservations_never_yield(patch: pytest.MonkeyPatch) -> None:
    original = Room.rivals

    def rivals(self: Room, head: Sequence) -> list[Sequence]:
        return [one for one in original(self, head) if one not in self._line.reserved]

    patch.setattr(Room, "rivals", rivals)


def an_admission_counts_a_token_too_many(patch: pytest.MonkeyPatch) -> None:
    original = Sequence.take_over

    def take_over(self: Sequence, output: ReadOnly[int], computed: int) -> None:
        original(self, output, min(computed + 1, len(self.request.prompt) + len(output) - 1))

    patch.setattr(Sequence, "take_over", take_over)


def an_admission_forgets_the_last_output(patch: pytest.MonkeyPatch) -> None:
    original = Sequence.take_over

    def take_over(self: Sequence, output: ReadOnly[int], computed: int) -> None:
        original(self, output[: max(len(self.request.output), len(output) - 1)], computed - 1)

    patch.setattr(Sequence, "take_over", take_over)


def a_frozen_sequence_is_in_a_step(patch: pytest.MonkeyPatch) -> None:
    original = Scheduler._add_decodes

    def add_decodes(self: Scheduler, draft: Draft) -> None:
        frozen = [one for one in self.running if one.state is SequenceState.FROZEN]
        for sequence in frozen:
            sequence.state = SequenceState.RUNNING
        original(self, draft)
        for sequence in frozen:
            if sequence.state is SequenceState.RUNNING:
                sequence.state = SequenceState.FROZEN

    patch.setattr(Scheduler, "_add_decodes", add_decodes)


def a_preemption_does_not_end_the_export(patch: pytest.MonkeyPatch) -> None:
    original = Sequence.preempt

    def preempt(self: Sequence) -> None:
        mover = self.mover
        original(self)
        self.mover = mover

    patch.setattr(Sequence, "preempt", preempt)


def a_sequence_stays_when_it_has_left(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Engine, sequence: Sequence) -> None:
        sequence.move_to(SequenceState.RUNNING)
        sequence.mover = None

    patch.setattr(Engine, "_leave_for_another", leave)


def a_warm_block_is_named_without_its_parents(patch: pytest.MonkeyPatch) -> None:
    def confirm(self: Warming, block: BlockId) -> bool:
        self._pool.name(block, self._contents.pop(block))
        self._pool.release(block)
        return True

    patch.setattr(Warming, "confirm", confirm)


def deadlines_are_no_order(patch: pytest.MonkeyPatch) -> None:
    def set_due(self: Engine, sequence: Sequence, now_ns: int) -> None:
        sequence.begin_by_ns = now_ns

    patch.setattr(Engine, "_set_due", set_due)


def a_distant_deadline_waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    original = Engine._set_due

    def set_due(self: Engine, sequence: Sequence, now_ns: int) -> None:
        original(self, sequence, now_ns)
        if sequence.request.deadline_ms is None:
            sequence.begin_by_ns *= 1000

    patch.setattr(Engine, "_set_due", set_due)


def what_has_begun_is_given_up(patch: pytest.MonkeyPatch) -> None:
    def is_overdue(self: Sequence, now_ns: int) -> bool:
        return self.deadline_ns is not None and self.deadline_ns <= now_ns

    patch.setattr(Sequence, "is_overdue", is_overdue)


def what_is_overdue_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sequence, "is_overdue", lambda self, now_ns: False)


def a_plan_is_repeated_beyond_a_stop(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(steps_alike, "_may_stop", lambda sequence: False)


def a_plan_is_repeated_without_blocks_for_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sequence, "slots_left", property(lambda self: 9))


def a_repeated_plan_forgets_what_was_said(patch: pytest.MonkeyPatch) -> None:
    original = Engine.apply

    def apply(self: Engine, outcome: StepOutcome) -> tuple[Delta, ...]:
        deltas = original(self, outcome)
        return tuple([replace(delta, tokens=delta.tokens[-1:]) for delta in deltas])

    patch.setattr(Engine, "apply", apply)


def a_guess_counts_as_said(patch: pytest.MonkeyPatch) -> None:
    original = Sequence.settle

    def settle(
        self: Sequence, guesses: int, sampled: tuple[SampledToken, ...]
    ) -> tuple[SampledToken, ...]:
        self.computed += guesses + 1 - len(sampled)
        return original(self, guesses, sampled)

    patch.setattr(Sequence, "settle", settle)


def a_guess_is_taken_beyond_a_stop(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sequence, "settle", lambda self, guesses, sampled: sampled)


def a_guess_has_no_slot(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guesses, "guesses_most", lambda sequence: sequence.tokens_left - 1)


def a_plan_with_guesses_is_repeated(patch: pytest.MonkeyPatch) -> None:
    original = Draft.finished

    def finished(self: Draft) -> Step | None:
        self.steps_max = 2 if any(row.guesses for row in self.rows) else self.steps_max
        return original(self)

    patch.setattr(Draft, "finished", finished)


def a_slot_is_free_before_it_is_loaded(patch: pytest.MonkeyPatch) -> None:
    original = HostPool.save

    def save(self: HostPool, sequence: Sequence) -> tuple[BlockSave, ...]:
        saves = original(self, sequence)
        self._free.extend(sequence.stored.slots)
        return saves

    patch.setattr(HostPool, "save", save)


def a_block_is_loaded_into_another_place(patch: pytest.MonkeyPatch) -> None:
    original = HostPool.load

    def load(self: HostPool, sequence: Sequence) -> tuple[BlockLoad, ...]:
        loads = original(self, sequence)
        blocks = [each.block for each in loads]
        return tuple(
            replace(each, block=block) for each, block in zip(loads, blocks[::-1], strict=True)
        )

    patch.setattr(HostPool, "load", load)


def a_pause_counts_a_block_too_many(patch: pytest.MonkeyPatch) -> None:
    original = HostPool.save

    def save(self: HostPool, sequence: Sequence) -> tuple[BlockSave, ...]:
        saves = original(self, sequence)
        return saves[:-1]

    patch.setattr(HostPool, "save", save)


def a_gap_before_what_was_saved_is_not_computed(patch: pytest.MonkeyPatch) -> None:
    def load(self: HostPool, sequence: Sequence) -> tuple[BlockLoad, ...]:
        size, slots = sequence.block_size, sequence.stored.slots
        blocks = sequence.block_table[sequence.named : -(-sequence.computed // size)]
        self.forget(sequence)
        return tuple(map(BlockLoad, reversed(slots), reversed(blocks)))

    patch.setattr(Stored, "reach", lambda self, tokens: max(tokens, self.stop))
    patch.setattr(HostPool, "load", load)


def who_leaves_keeps_its_slots(patch: pytest.MonkeyPatch) -> None:
    original = HostPool.forget

    def forget(self: HostPool, sequence: Sequence) -> None:
        if sequence.state is not SequenceState.PREEMPTED:
            original(self, sequence)

    patch.setattr(HostPool, "forget", forget)


DIFFERS = "not what an undisturbed run would say"

# Each with what is said of it when it is seen.
PLANTS: dict[Plant, str] = {
    a_table_is_released_twice: "which nobody holds",
    a_release_ignores_other_holders: "a write into a shared block",
    a_shared_block_is_written_in_place: "a write into a shared block",
    a_copy_on_write_does_not_copy: DIFFERS,
    an_evicted_block_keeps_its_name: "a write into a findable block",
    an_eviction_goes_unreported: "events and inventory disagree",
    a_table_is_released_head_first: "orphans a child",
    a_hit_is_not_pinned: "orphans a child",
    a_block_is_findable_before_it_is_computed: "a write into a findable block",
    a_whole_prompt_comes_from_the_cache: "a row without slots",
    a_salt_is_ignored: "a hit on what was never stored",
    a_sibling_takes_no_references: "two rows write into one block",
    a_preempted_sequence_keeps_its_progress: "stale KV",
    a_cancelled_row_is_applied: "a delta of a request that is over",
    a_stop_token_ends_too_early: DIFFERS,
    a_finished_choice_says_one_token_more: DIFFERS,
    the_head_of_the_line_is_overtaken: "an older request was overtaken",
    a_resumed_choice_begins_anew: "a gap or a repetition",
    a_resumed_choice_samples_as_the_first: DIFFERS,
    held_blocks_are_not_referenced: "which nobody holds",
    a_reserved_block_is_findable_before_it_is_written: "a stale name",
    reservations_never_yield: "none of them can run",
    an_admission_counts_a_token_too_many: "a slot that was never written",
    an_admission_forgets_the_last_output: "a gap or a repetition",
    a_frozen_sequence_is_in_a_step: "a frozen sequence moved on",
    a_preemption_does_not_end_the_export: "preempted to frozen",
    a_sequence_stays_when_it_has_left: "a delta",
    a_warm_block_is_named_without_its_parents: "orphans a child",
    deadlines_are_no_order: "overtaken by one that is due later",
    a_distant_deadline_waits_for_ever: "an older request was overtaken",
    what_has_begun_is_given_up: "given up, and had begun",
    what_is_overdue_stays: "waits beyond its deadline",
    a_plan_is_repeated_beyond_a_stop: DIFFERS,
    a_plan_is_repeated_without_blocks_for_it: "a position beyond the table",
    a_repeated_plan_forgets_what_was_said: DIFFERS,
    a_guess_counts_as_said: "stale KV",
    a_guess_is_taken_beyond_a_stop: DIFFERS,
    a_guess_has_no_slot: "a row without slots",
    a_plan_with_guesses_is_repeated: "guesses in a plan that is repeated",
}


# These are seen where sequences are paused, and most of them come back.
OF_PAUSES: dict[Plant, str] = {
    a_slot_is_free_before_it_is_loaded: "two saves into one slot",
    a_block_is_loaded_into_another_place: DIFFERS,
    a_pause_counts_a_block_too_many: "a load of what was never saved",
    a_gap_before_what_was_saved_is_not_computed: DIFFERS,
    who_leaves_keeps_its_slots: "nobody is here, and host memory is in use",
}


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_walk_finds(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "check", lambda self: None)
    plant(monkeypatch)
    said = PLANTS[plant]
    assert any(said in _objection(seed) for seed in range(SEEDS)), f"the walk is blind to: {said}"


@pytest.mark.parametrize("plant", OF_PAUSES, ids=lambda plant: plant.__name__)
def test_a_crowded_walk_finds(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "check", lambda self: None)
    plant(monkeypatch)
    said = OF_PAUSES[plant]
    is_seen = any(said in _objection(seed, CROWDED) for seed in range(CROWDED_SEEDS))
    assert is_seen, f"the walk is blind to: {said}"


def _objection(seed: int, likely: Mapping[str, float] = MOVES) -> str:
    """What was found wrong in this walk, if anything was."""
    try:
        walk(seed, likely=likely)
    except (AssertionError, KeyError, IndexError) as broken:
        return str(broken)
    return ""
