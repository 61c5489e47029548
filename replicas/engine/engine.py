"""The engine of one replica: requests in, steps out, outcomes in, deltas out.

A synchronous state machine. Whoever drives it alternates `schedule` and
`apply`, computes each plan somewhere in between, and may `submit` and `cancel`
at any time, also while a plan is being computed. It reads no clock, is told
the time where it matters, and draws no random number: the same calls give the
same plans.

Invariants, all in `check`: every block is free, cached or used; reference
counts are those of the block tables; a block is findable only once its KV is
computed, and no findable or shared block is written again; names are closed
under "parent"; inside a class, those who have begun stand before those who have
not, and of these whoever is due first stands first.

A cancelled sequence gives its blocks back at once, even from a plan in
flight. That is safe because others write to them only after that plan:
`schedule` hands blocks out after its outcome, and what comes from another
replica is written between two steps.

A sequence leaves for another replica by `export` or `withdraw`, and comes from
one by `reserve`, with its KV, or by `submit`, without. Its first blocks alone come
by `hold`. The handles that move it never keep the engine from anything: it
finishes, cancels and preempts as ever.
"""

from __future__ import annotations

from collections.abc import Sequence as ReadOnly

from protos.hashing import BlockHash, reusable_blocks
from protos.messages import (
    NO_COPIES,
    BlockEvent,
    CopyTotals,
    Delta,
    Refusal,
    RefusalReason,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    SequenceReport,
    Snapshot,
)
from replicas.engine.acceptance import is_outcome
from replicas.engine.arrival import Arrival
from replicas.engine.block_pool import BlockContent, BlockPool, Found
from replicas.engine.config import EngineConfig
from replicas.engine.draft import Step
from replicas.engine.export import Export
from replicas.engine.hold import Hold
from replicas.engine.invariants import check_names, check_sharing, check_writes
from replicas.engine.line_sums import sums_of
from replicas.engine.marks import Mark
from replicas.engine.plan import BlockId, StepOutcome, StepPlan
from replicas.engine.prefix_cache import PrefixCache
from replicas.engine.refusals import output_max, refusal, refuse
from replicas.engine.report import report_of
from replicas.engine.scheduler import Scheduler
from replicas.engine.sequence import Sequence, SequenceState
from replicas.engine.step_times import StepTimes
from replicas.engine.tally import Tally
from replicas.engine.warming import Warming

NS_PER_MS = 1_000_000


class Engine:
    """Decides what one replica computes. One plan in flight at a time."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._pool = BlockPool(config.blocks_total)
        self._cache = PrefixCache(self._pool)
        self._scheduler = Scheduler(config, self._pool, self._cache)
        self._live: dict[RequestId, list[Sequence]] = {}  # every unfinished sequence
        self._in_flight: Step | None = None
        self._tally = Tally()
        self._warming = Warming(self._pool, block_size=config.card.block_size)
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether new work is refused."""
        return self._draining

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do: no sequence, no plan in flight.

        While it is not, `schedule` may still have nothing: for frozen or held sequences.
        """
        return not self._live and self._in_flight is None

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What the plan in flight did to sequences, in order."""
        return () if self._in_flight is None else self._in_flight.marks

    def submit(self, request: Request, *, now_ns: int = 0) -> Refusal | None:
        """Take a request, or say why not. What is taken finishes, unless cancelled.

        Or unless its deadline passes before it begins (`give_up`), counted from
        `now_ns` on the caller's clock; who has no deadlines needs no time.
        """
        refused = self._refusal(request) or self._queue_refusal(request)
        if refused is not None:
            return refused
        sequence = self._sequence(request, SequenceState.WAITING)
        self._set_due(sequence, now_ns)
        self._live[request.request_id] = [sequence]
        self._scheduler.enqueue(sequence)
        return None

    def give_up(self, now_ns: int) -> tuple[Refusal, ...]:
        """End what waits beyond its deadline and has never begun: its refusals, one a request.

        What has begun, here or elsewhere, is late at worst and goes on.
        """
        line = self._scheduler.line
        overdue = [each for each in (*line.waiting, *line.held) if each.is_overdue(now_ns)]
        for sequence in overdue:
            self._leave(sequence)
        message = "Its deadline passed while it waited for its turn."
        return tuple(refuse(each.request, RefusalReason.OVERDUE, message) for each in overdue)

    def cancel(self, request_id: RequestId) -> bool:
        """End a request without a further delta, at any time; False if it is not here."""
        sequences = self._live.pop(request_id, None)
        if sequences is None:
            return False
        for sequence in sequences:
            self._scheduler.remove(sequence)
        return True

    def withdraw(self, request_id: RequestId, choice: int) -> tuple[int, int] | None:
        """Take one sequence out, whatever it is doing, without a further delta.

        Its unforked siblings go with it: the answer is the first choice and how
        many. None if there is no such sequence. A token that a plan in flight
        computes for it is lost.
        """
        for sequence in self._live.get(request_id, ()):
            if sequence.choice <= choice <= sequence.choice + sequence.unforked:
                self._leave(sequence)
                return sequence.choice, 1 + sequence.unforked
        return None

    def export(self, request_id: RequestId, choice: int) -> Export | None:
        """A handle to move this sequence to another replica while it goes on decoding.

        None if it is not here or has no blocks, if its choices have yet to
        fork, or if it has a handle already.
        """
        for sequence in self._live.get(request_id, ()):
            is_free = not sequence.unforked and sequence.mover is None
            if sequence.choice == choice and sequence.is_running and is_free:
                return Export(
                    sequence,
                    is_mid_step=lambda: self._in_flight is not None,
                    leave=self._leave_for_another,
                )
        return None

    def reserve(self, request: Request, computed: int) -> Arrival | Refusal:
        """Make room for a sequence that runs elsewhere, of whose tokens `computed` have KV.

        `request` is as if to resume it: one choice, with its output so far.
        QUEUE_FULL says that there is no room now, which includes room that
        somebody of its class or a better one waits for.
        """
        refused = self._refusal(request)
        if refused is not None:
            return refused
        if request.choices != 1 or not 0 <= computed < request.given_tokens:
            message = f"No choice of this request has {computed} computed tokens."
            return refuse(request, RefusalReason.INVALID, message)
        sequence = self._sequence(request, SequenceState.RESERVED)
        if not self._scheduler.reserve(sequence):
            message = "There is no room here for a sequence that runs already."
            return refuse(request, RefusalReason.QUEUE_FULL, message)
        return Arrival(sequence, self._scheduler, enter=self._enter)

    def hold(self, request_id: RequestId, blocks: int) -> Hold | None:
        """Let a request that waits stand aside while its first `blocks` blocks are copied here.

        None if it does not wait for its first turn, or if they are all here.
        """
        for sequence in self._live.get(request_id, ()):
            reusable = reusable_blocks(sequence.length, block_size=sequence.block_size)
            wanted = min(blocks, reusable)
            if sequence.state is SequenceState.WAITING and sequence.found < wanted:
                self._scheduler.hold(sequence, wanted)
                return Hold(sequence, self._scheduler)
        return None

    def find_blocks(self, contents: ReadOnly[BlockContent]) -> tuple[Found, ...]:
        """The leading ones of a chain, from its root, that are here, to be read at any time.

        Whoever has read them asks how many are `intact`: only those were theirs all the time.
        """
        return self._pool.find_chain(contents)

    def intact(self, found: ReadOnly[Found]) -> int:
        """How many of the leading ones nobody has evicted or written since they were found."""
        return self._pool.intact(found)

    def hot_blocks(self, limit: int) -> tuple[tuple[BlockId, BlockContent], ...]:
        """The blocks that most requests found here, at most `limit`, parents before children."""
        return self._pool.hot(limit)

    def import_block(self, content: BlockContent) -> BlockId | None:
        """A free block to write this content to; None if it is not wanted or nothing is free.

        To be written and confirmed before the next step, or it is dropped.
        Parents first, in one go with their children if need be.
        """
        return self._warming.take(content)

    def confirm_block(self, block: BlockId) -> bool:
        """Its content is in place: it is cached and findable now. False if it was dropped."""
        return self._warming.confirm(block)

    def drain(self) -> None:
        """Refuse new work until `open`; what is here goes on to its end. Reservations end."""
        self._draining = True
        for sequence in tuple(self._scheduler.line.reserved):
            self._scheduler.drop(sequence)

    def open(self) -> None:
        """Take new work again."""
        self._draining = False

    def schedule(self) -> StepPlan | None:
        """The next step, whose outcome must be applied; None when there is nothing to do.

        That is so without sequences, and also while all that have room are frozen,
        and all others held.
        """
        assert self._in_flight is None, "the outcome of the last plan has not been applied"
        self._warming.drop()
        step = self._scheduler.schedule()
        self._tally.preemptions = self._scheduler.preemptions
        self._tally.pauses = self._scheduler.pauses
        self._tally.restored_tokens = self._scheduler.host.restored_tokens
        if step is None:
            return None
        for sequence in step.admitted:
            self._tally.add_admission(sequence)
        self._in_flight = step
        return step.plan

    def apply(self, outcome: StepOutcome) -> tuple[Delta, ...]:
        """Take the outcome of the plan in flight: what its sequences gained from it."""
        step, self._in_flight = self._in_flight, None
        assert step is not None, "an outcome without a plan in flight"
        plan, steps = step.plan, outcome.steps
        assert len(outcome.sampled) == len(plan.rows), "an outcome of another plan"
        assert 1 <= steps <= plan.steps_max, f"{steps} steps by a plan for {plan.steps_max}"
        self._tally.steps += steps
        deltas: list[Delta] = []
        for sequence, row, sampled in zip(step.sequences, plan.rows, outcome.sampled, strict=True):
            assert is_outcome(row, sampled, steps), "not one token for each sample"
            if sequence.state is SequenceState.FINISHED:
                continue  # cancelled while the step was computed
            fed = steps * len(row.tokens)
            if row.guesses:
                sampled = sequence.settle(row.guesses, sampled)
                fed = len(sampled)
                self._tally.add_guesses(row.guesses, accepted=fed - 1)
            self._tally.add_computed(sequence, fed)
            sequence.computed += fed
            if steps > 1 or row.guesses:
                sequence.output.extend([each.token for each in sampled[:-1]])
            self._cache.store(sequence)
            if not sampled:
                continue
            if sequence.unforked:
                deltas.extend(self._fork(sequence, sampled))
            else:
                deltas.append(self._accept(sequence, sampled))
        if steps > 1:
            self._scheduler.room.begin_steps(steps - 1)
        return tuple(deltas)

    def block_events(self) -> tuple[BlockEvent, ...]:
        """Changes to what is findable since the last call, in order. Call it every step."""
        return self._pool.take_events()

    def inventory(self) -> tuple[BlockHash, ...]:
        """Every findable block, parents before children."""
        return self._pool.names()

    def sequences(self) -> tuple[SequenceReport, ...]:
        """All that run or wait, in the order in which they are served; held ones come last."""
        scheduler = self._scheduler
        line = (*scheduler.running, *scheduler.waiting, *scheduler.line.held)
        return tuple(report_of(sequence, self._pool) for sequence in line)

    def snapshot(
        self,
        *,
        replica_id: ReplicaId,
        epoch: int,
        number: int,
        times: StepTimes,
        registry_behind_ns: int = 0,
        copy_start_ns: int = 0,
        copy_block_ns: int = 0,
        copies: CopyTotals = NO_COPIES,
    ) -> Snapshot:
        """A report of this moment; the caller knows who and when, and what time has told him."""
        queues = self._scheduler.line
        block_size = self.config.card.block_size
        line = sums_of(queues, self._pool, block_size=block_size)
        return Snapshot(
            replica_id=replica_id,
            epoch=epoch,
            number=number,
            blocks_total=self._pool.blocks_total,
            blocks_free=self._pool.blocks_free,
            blocks_cached=self._pool.blocks_cached,
            blocks_used=self._pool.blocks_used,
            sequences_running=len(queues.running),
            sequences_waiting=len(queues.waiting) + len(queues.held),
            prefill_tokens_waiting=line.prefill_tokens_left,
            blocks_waiting=line.blocks_wanted,
            draining=self._draining,
            step_ns=times.mean_ns,
            full_ns=times.full_ns,
            full_prefill_tokens=times.full_prefill_tokens,
            blocks_yielding=line.blocks_yielding,
            blocks_shared=self._pool.blocks_shared,
            blocks_unreclaimable=line.blocks_unreclaimable,
            slots_unused=line.slots_unused,
            registry_behind_ns=registry_behind_ns,
            copy_start_ns=copy_start_ns,
            copy_block_ns=copy_block_ns,
            copies=copies,
            prefill_context_waiting=line.prefill_context_left,
            full_prefill_context=times.full_prefill_context,
            host_blocks_total=self._scheduler.host.slots_total,
            host_blocks_used=self._scheduler.host.slots_used,
            counters=self._tally.counters(),
        )

    def check(self) -> None:
        """Assert every invariant. For tests after each step, and for a live engine when idle."""
        scheduler = self._scheduler
        holders = (*scheduler.running, *scheduler.line.reserved, *scheduler.line.held)
        tables = [sequence.block_table for sequence in holders]
        self._pool.check([*tables, *([block] for block in self._warming.blocks)])
        scheduler.check()
        check_names(holders, self._pool)
        check_sharing(holders, self._pool)
        queues = (*scheduler.running, *scheduler.waiting, *scheduler.line.held)
        line = {id(sequence) for sequence in queues}
        live = {id(sequence) for sequences in self._live.values() for sequence in sequences}
        assert line == live, "the line and the live requests disagree"
        if self._in_flight is not None:
            check_writes(self._in_flight, self._pool, block_size=self.config.card.block_size)

    def _refusal(self, request: Request) -> Refusal | None:
        """Why this request has no business here; None if it has, now or later."""
        request_id = request.request_id
        if self._draining:
            message = "This replica takes no new requests."
            return refuse(request, RefusalReason.DRAINING, message)
        reserved = self._scheduler.line.reserved
        if request_id in self._live or any(
            sequence.request.request_id == request_id for sequence in reserved
        ):
            message = f"A request {request_id} is here already."
            return refuse(request, RefusalReason.INVALID, message)
        return refusal(request, self.config)

    def _queue_refusal(self, request: Request) -> Refusal | None:
        waiting = self._scheduler.line.waits_before(request.request_class.rank)
        if waiting < self.config.waiting_max:
            return None
        message = f"{waiting} sequences of its class or a better one are waiting already."
        return refuse(request, RefusalReason.QUEUE_FULL, message)

    def _sequence(self, request: Request, state: SequenceState) -> Sequence:
        card = self.config.card
        sequence = Sequence(
            request=request,
            root=card.scope(request.salt),
            block_size=card.block_size,
            output_max=output_max(request, card),
            unforked=request.choices - 1,
            choice=request.first_choice,
            state=state,
            output=list(request.output),
        )
        sequence.name_prompt()
        return sequence

    def _set_due(self, sequence: Sequence, now_ns: int) -> None:
        left_ms, patience_ms = sequence.request.deadline_ms, self.config.patience_ms
        due_ms = patience_ms if left_ms is None else min(left_ms, patience_ms)
        sequence.begin_by_ns = now_ns + due_ms * NS_PER_MS
        if left_ms is not None and not sequence.output:
            sequence.deadline_ns = now_ns + left_ms * NS_PER_MS

    def _fork(self, sequence: Sequence, sampled: ReadOnly[SampledToken]) -> list[Delta]:
        """Give each sampled token to its choice; siblings fork before the first may finish."""
        siblings = self._scheduler.fork(sequence)
        self._live[sequence.request.request_id].extend(siblings)
        return [
            self._accept(choice, (token,))
            for choice, token in zip((sequence, *siblings), sampled, strict=True)
        ]

    def _accept(self, sequence: Sequence, sampled: tuple[SampledToken, ...]) -> Delta:
        """Tell these tokens, of which the sequence has all but the last one."""
        for each in sampled:
            assert 0 <= each.token < self.config.card.vocab_size, f"sampled token {each.token}"
        first_index = len(sequence.output) + 1 - len(sampled)
        finish = sequence.accept(sampled[-1])
        if finish is not None:
            self._finish(sequence)
        return Delta(
            request_id=sequence.request.request_id,
            choice=sequence.choice,
            first_index=first_index,
            tokens=sampled,
            finish=finish,
            hit_tokens=sequence.hit_tokens,
        )

    def _finish(self, sequence: Sequence) -> None:
        self._leave(sequence)
        if sequence.request.request_id not in self._live:
            self._tally.requests_finished += 1

    def _leave(self, sequence: Sequence) -> None:
        self._scheduler.remove(sequence)
        request_id = sequence.request.request_id
        self._live[request_id].remove(sequence)
        if not self._live[request_id]:
            del self._live[request_id]

    def _leave_for_another(self, sequence: Sequence) -> None:
        self._leave(sequence)
        self._tally.sequences_exported += 1

    def _enter(self, sequence: Sequence) -> None:
        self._live[sequence.request.request_id] = [sequence]
        self._tally.sequences_imported += 1
