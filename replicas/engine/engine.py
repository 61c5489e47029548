"""The engine of one replica: requests in, steps out, outcomes in, deltas out.

A synchronous state machine. Whoever drives it alternates `schedule` and
`apply`, computes each plan somewhere in between, and may `submit` and `cancel`
at any time, also while a plan is being computed. It reads no clock and draws
no random number: the same calls give the same plans.

Invariants, all in `check`: every block is free, cached or used; reference
counts are those of the block tables; a block is findable only once its KV is
computed, and no findable or shared block is written again; names are closed
under "parent"; sequences run and wait in order of arrival.

A cancelled sequence gives its blocks back at once, even from a plan in
flight. That is safe because blocks are handed out by `schedule` alone, after
the outcome of that plan.
"""

from __future__ import annotations

from collections.abc import Sequence as ReadOnly

from protos.hashing import BlockHash
from protos.messages import (
    BlockEvent,
    Delta,
    Refusal,
    RefusalReason,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    Snapshot,
)
from replicas.engine.block_pool import BlockPool
from replicas.engine.config import EngineConfig
from replicas.engine.plan import Row, StepOutcome, StepPlan
from replicas.engine.prefix_cache import PrefixCache
from replicas.engine.refusals import output_max, refusal
from replicas.engine.scheduler import Scheduler, Step
from replicas.engine.sequence import Sequence, SequenceState
from replicas.engine.step_times import StepTimes
from replicas.engine.tally import Tally


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
        self._arrivals = 0
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether new work is refused."""
        return self._draining

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do: no sequence, no plan in flight."""
        return not self._live and self._in_flight is None

    def submit(self, request: Request) -> Refusal | None:
        """Take a request, or say why not. What is taken finishes, unless cancelled."""
        refused = self._refusal(request)
        if refused is not None:
            return refused
        card = self.config.card
        sequence = Sequence(
            request=request,
            root=card.scope(request.salt),
            block_size=card.block_size,
            arrival=self._arrivals,
            output_max=output_max(request, card),
            unforked=request.choices - 1,
            choice=request.first_choice,
            output=list(request.output),
        )
        sequence.name_prompt()
        self._arrivals += 1
        self._live[request.request_id] = [sequence]
        self._scheduler.enqueue(sequence)
        return None

    def cancel(self, request_id: RequestId) -> bool:
        """End a request without a further delta, at any time; False if it is not here."""
        sequences = self._live.pop(request_id, None)
        if sequences is None:
            return False
        for sequence in sequences:
            self._scheduler.remove(sequence)
        return True

    def drain(self) -> None:
        """Refuse new work from now on; what is here goes on to its end."""
        self._draining = True

    def schedule(self) -> StepPlan | None:
        """The next step, or None when there is nothing to do. Its outcome must be applied."""
        assert self._in_flight is None, "the outcome of the last plan has not been applied"
        step = self._scheduler.schedule()
        if step is None:
            return None
        for sequence in step.admitted:
            self._tally.add_admission(sequence)
        self._tally.preemptions += step.preemptions
        self._in_flight = step
        return step.plan

    def apply(self, outcome: StepOutcome) -> tuple[Delta, ...]:
        """Take the outcome of the plan in flight: what its sequences gained from it."""
        step, self._in_flight = self._in_flight, None
        assert step is not None, "an outcome without a plan in flight"
        assert len(outcome.sampled) == len(step.plan.rows), "an outcome of another plan"
        self._tally.steps += 1
        deltas: list[Delta] = []
        for sequence, row, sampled in zip(
            step.sequences, step.plan.rows, outcome.sampled, strict=True
        ):
            assert len(sampled) == len(row.samples), "not one token for each sample"
            if sequence.state is SequenceState.FINISHED:
                continue  # cancelled while the step was computed
            self._tally.add_computed(sequence, len(row.tokens))
            sequence.computed += len(row.tokens)
            self._cache.store(sequence)
            if sampled:
                deltas.extend(self._extend(sequence, sampled))
        return tuple(deltas)

    def block_events(self) -> tuple[BlockEvent, ...]:
        """Changes to what is findable since the last call, in order. Call it every step."""
        return self._pool.take_events()

    def inventory(self) -> tuple[BlockHash, ...]:
        """Every findable block, parents before children."""
        return self._pool.names()

    def snapshot(
        self, *, replica_id: ReplicaId, epoch: int, number: int, times: StepTimes
    ) -> Snapshot:
        """A report of this moment; the caller knows who and when, and how long steps took."""
        running, waiting = self._scheduler.running, self._scheduler.waiting
        return Snapshot(
            replica_id=replica_id,
            epoch=epoch,
            number=number,
            blocks_total=self._pool.blocks_total,
            blocks_free=self._pool.blocks_free,
            blocks_cached=self._pool.blocks_cached,
            blocks_used=self._pool.blocks_used,
            sequences_running=len(running),
            sequences_waiting=len(waiting),
            prefill_tokens_waiting=self._scheduler.prefill_tokens_left(),
            blocks_waiting=self._scheduler.blocks_wanted(),
            draining=self._draining,
            step_ns=times.mean_ns,
            full_ns=times.full_ns,
            full_prefill_tokens=times.full_prefill_tokens,
            counters=self._tally.counters(),
        )

    def check(self) -> None:
        """Assert every invariant. For tests after each step, and for a live engine when idle."""
        scheduler = self._scheduler
        self._pool.check(sequence.block_table for sequence in scheduler.running)
        scheduler.check()
        line = {id(sequence) for sequence in (*scheduler.running, *scheduler.waiting)}
        live = {id(sequence) for sequences in self._live.values() for sequence in sequences}
        assert line == live, "the line and the live requests disagree"
        for sequence in scheduler.running:
            self._check_names(sequence)
        if self._in_flight is not None:
            for sequence, row in zip(
                self._in_flight.sequences, self._in_flight.plan.rows, strict=True
            ):
                self._check_writes(sequence, row)

    def _check_names(self, sequence: Sequence) -> None:
        label = f"{sequence.request.request_id}/{sequence.choice}"
        for index, block in enumerate(sequence.block_table):
            content = self._pool.content(block)
            if index >= sequence.named:
                assert content is None, f"{label}: block {block} is findable before it is computed"
                continue
            assert content is not None, f"{label}: block {block} has lost its name"
            assert content.tokens == sequence.block_tokens(index), f"{label}: foreign block {block}"
            assert content.parent == sequence.parent_name(index), f"{label}: foreign block {block}"

    def _check_writes(self, sequence: Sequence, row: Row) -> None:
        """A row of the plan in flight writes only to blocks that nobody else reads."""
        if sequence.state is SequenceState.FINISHED:
            return
        size = self.config.card.block_size
        first, last = row.start // size, (row.start + len(row.tokens) - 1) // size
        for block in row.block_table[first : last + 1]:
            assert self._pool.references(block) == 1, f"a write to the shared block {block}"
            assert self._pool.content(block) is None, f"a write to the findable block {block}"

    def _refusal(self, request: Request) -> Refusal | None:
        request_id = request.request_id
        if self._draining:
            message = "This replica takes no new requests."
            return Refusal(request_id, RefusalReason.DRAINING, message)
        if request_id in self._live:
            message = f"A request {request_id} is here already."
            return Refusal(request_id, RefusalReason.INVALID, message)
        refused = refusal(request, self.config)
        if refused is None and len(self._scheduler.waiting) >= self.config.waiting_max:
            message = f"{self.config.waiting_max} sequences are waiting already."
            return Refusal(request_id, RefusalReason.QUEUE_FULL, message)
        return refused

    def _extend(self, sequence: Sequence, sampled: ReadOnly[SampledToken]) -> list[Delta]:
        """Give each sampled token to its choice; siblings fork before the first may finish."""
        if not sequence.unforked:
            return [self._accept(sequence, sampled[0])]
        siblings = self._scheduler.fork(sequence)
        self._live[sequence.request.request_id].extend(siblings)
        return [
            self._accept(choice, token)
            for choice, token in zip((sequence, *siblings), sampled, strict=True)
        ]

    def _accept(self, sequence: Sequence, sampled: SampledToken) -> Delta:
        assert 0 <= sampled.token < self.config.card.vocab_size, f"sampled token {sampled.token}"
        first_index = len(sequence.output)
        finish = sequence.accept(sampled)
        if finish is not None:
            self._finish(sequence)
        return Delta(
            request_id=sequence.request.request_id,
            choice=sequence.choice,
            first_index=first_index,
            tokens=(sampled,),
            finish=finish,
            hit_tokens=sequence.hit_tokens,
        )

    def _finish(self, sequence: Sequence) -> None:
        self._scheduler.remove(sequence)
        request_id = sequence.request.request_id
        self._live[request_id].remove(sequence)
        if not self._live[request_id]:
            del self._live[request_id]
            self._tally.requests_finished += 1
