"""The incident's engine: continuous batching over contiguous memory.

Same steps as the production engine: one token budget, decodes first, then
begun prefills, then admissions from the head of one line, nobody overtakes;
same sequences, rows and plans. What differs is memory. A sequence is admitted
with one run for its prompt and the longest answer it may get, owns it until it
finishes, and never needs another slot; so it is never preempted either.

The rule when the head finds no hole: it keeps its place and is tried again
before each step. After `patience_ns` from its first try it fails with the
allocator's out-of-memory error. Those behind it wait meanwhile.

Reuse: the KV of the shared prefix lies pinned in the middle of memory, computed
by `prepare` before anybody comes. A run is contiguous, so a sequence cannot
refer to it: the prefix is copied into each run. That saves its computation and
no memory.

A run is whole blocks with consecutive ids, of a pool like any other. So the
plans are plans like any other, copies included, and whatever computes those of
the production engine computes these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.sim.incident.contiguous import ContiguousMemory, Run
from orchestrator.sim.incident.memory import SHARED, Area, MemoryState, draw
from orchestrator.sim.incident.workload import kind_of
from protos.hashing import BlockHash
from protos.messages import Delta, Request, RequestId, SampledToken
from replicas.engine.plan import BlockCopy, BlockId, Row, StepOutcome, StepPlan
from replicas.engine.sequence import Sequence, SequenceState

NO_ROOT = BlockHash(b"")  # no block is ever named here


@dataclass(frozen=True, slots=True)
class ContiguousConfig:
    """Bounds of the engine. `prefix` is what is pinned and reused; empty means no reuse."""

    blocks_total: int
    block_size: int
    step_tokens_max: int
    sequences_max: int
    patience_ns: int
    prefix: tuple[int, ...] = ()

    @property
    def slots_total(self) -> int:
        """The memory, in token slots."""
        return self.blocks_total * self.block_size

    def whole_blocks(self, slots: int) -> int:
        """The slots of as many blocks as so many slots need."""
        return -(-slots // self.block_size) * self.block_size

    def blocks_of(self, run: Run) -> tuple[BlockId, ...]:
        """Where it lies."""
        blocks = range(run.start // self.block_size, run.stop // self.block_size)
        return tuple(map(BlockId, blocks))


@dataclass(frozen=True, slots=True)
class Failure:
    """An allocation that found no hole for as long as its request had patience."""

    request_id: RequestId
    now_ns: int
    slots_asked: int
    slots_free: int
    largest_hole: int


class ContiguousEngine:
    """Decides what one replica computes, over contiguous memory."""

    def __init__(self, config: ContiguousConfig) -> None:
        self._config = config
        self._memory = ContiguousMemory(config.slots_total)
        self._runs: dict[RequestId, Run] = {}
        self._running: list[Sequence] = []
        self._waiting: deque[Sequence] = deque()
        self._tried_ns: int | None = None  # when the head first found no hole
        self._failures: list[Failure] = []
        self._in_flight: _Draft | None = None
        self._arrivals = 0
        self._pinned: Run | None = None
        if config.prefix:
            slots = config.whole_blocks(len(config.prefix))
            middle = (config.blocks_total * config.block_size - slots) // 2
            start = middle - middle % config.block_size
            self._pinned = Run(start, start + slots)
            self._memory.pin(self._pinned)

    def prepare(self) -> Iterator[StepPlan]:
        """Steps that compute the pinned prefix, before any other; their outcomes hold nothing."""
        if self._pinned is None:
            return
        prefix, budget = self._config.prefix, self._config.step_tokens_max
        table = self._config.blocks_of(self._pinned)
        for start in range(0, len(prefix), budget):
            tokens = prefix[start : start + budget]
            row = Row(tokens=tokens, start=start, block_table=table, samples=())
            yield StepPlan(copies=(), rows=(row,), prefill_tokens=len(tokens))

    def submit(self, request: Request) -> None:
        """Put a request at the end of the line."""
        self._waiting.append(
            Sequence(
                request=request,
                root=NO_ROOT,
                block_size=self._config.block_size,
                arrival=self._arrivals,
                output_max=request.sampling.tokens_max,
            )
        )
        self._arrivals += 1

    def schedule(self, now_ns: int) -> StepPlan | None:
        """The next step, or None when there is nothing to do. Its outcome must be applied."""
        assert self._in_flight is None, "the outcome of the last plan has not been applied"
        draft = _Draft(self._config.step_tokens_max)
        decodes = [sequence for sequence in self._running if not sequence.is_prefilling]
        prefills = [sequence for sequence in self._running if sequence.is_prefilling]
        for sequence in (*decodes, *prefills):
            draft.add(sequence)
        while draft.budget and self._waiting and self._admit_head(now_ns):
            draft.copies.extend(self._copies(self._running[-1]))
            draft.add(self._running[-1])
        if not draft.rows:
            assert not self._waiting, "somebody waits for an empty memory"
            return None
        self._in_flight = draft
        return StepPlan(copies=tuple(draft.copies), rows=tuple(draft.rows))

    def apply(self, outcome: StepOutcome) -> tuple[Delta, ...]:
        """Take the outcome of the plan in flight."""
        draft, self._in_flight = self._in_flight, None
        assert draft is not None, "an outcome without a plan in flight"
        deltas = []
        for sequence, row, sampled in zip(
            draft.sequences, draft.rows, outcome.sampled, strict=True
        ):
            sequence.computed += len(row.tokens)
            if sampled:
                deltas.append(self._accept(sequence, sampled[0]))
        return tuple(deltas)

    def take_failures(self) -> tuple[Failure, ...]:
        """Those since the last call."""
        failures = tuple(self._failures)
        self._failures.clear()
        return failures

    def memory_state(self) -> MemoryState:
        """What the memory looks like now."""
        areas = [] if self._pinned is None else [area(self._pinned, SHARED)]
        for sequence in self._running:
            kind = kind_of(sequence.request)
            areas.append(area(self._runs[sequence.request.request_id], kind))
        written = sum(sequence.computed for sequence in self._running)
        return MemoryState(
            slots_total=self._memory.slots_total,
            slots_free=self._memory.slots_free,
            slots_written=written + len(self._config.prefix),
            largest_hole=self._memory.largest_hole,
            sequences=len(self._running),
            cells=draw(areas, self._memory.slots_total),
        )

    def check(self) -> None:
        """Assert that memory is held by those who run, and by nobody else."""
        self._memory.check()
        held = [self._runs[sequence.request.request_id] for sequence in self._running]
        pinned = [] if self._pinned is None else [self._pinned]
        assert sorted((*held, *pinned)) == list(self._memory.runs), "a run without its sequence"
        for sequence, run in zip(self._running, held, strict=True):
            assert sequence.computed < sequence.length <= run.size, "a sequence outgrew its run"

    def _admit_head(self, now_ns: int) -> bool:
        """Give the head of the line its run; False when it has to wait."""
        if len(self._running) >= self._config.sequences_max:
            return False
        while self._waiting:
            head = self._waiting[0]
            slots = self._config.whole_blocks(len(head.request.prompt) + head.output_max)
            run = self._memory.allocate(slots)
            if run is not None:
                self._start(self._waiting.popleft(), run)
                return True
            self._tried_ns = now_ns if self._tried_ns is None else self._tried_ns
            if now_ns - self._tried_ns < self._config.patience_ns:
                return False
            self._fail(self._waiting.popleft(), slots, now_ns)
        return False

    def _start(self, sequence: Sequence, run: Run) -> None:
        self._tried_ns = None
        self._runs[sequence.request.request_id] = run
        sequence.block_table = list(self._config.blocks_of(run))
        sequence.admit()
        prefix = self._config.prefix
        if prefix and sequence.request.prompt[: len(prefix)] == prefix:
            # The last token is always computed: its logits are needed.
            sequence.hit_tokens = min(len(prefix), len(sequence.request.prompt) - 1)
            sequence.computed = sequence.hit_tokens
        self._running.append(sequence)

    def _copies(self, sequence: Sequence) -> Iterator[BlockCopy]:
        """The prefix that was found, block by block into its run."""
        size = self._config.block_size
        if self._pinned is not None:
            for source, target, begin in zip(
                self._config.blocks_of(self._pinned),
                sequence.block_table,
                range(0, sequence.hit_tokens, size),
                strict=False,
            ):
                yield BlockCopy(source, target, min(size, sequence.hit_tokens - begin))

    def _fail(self, sequence: Sequence, slots: int, now_ns: int) -> None:
        self._tried_ns = None
        sequence.move_to(SequenceState.FINISHED)
        self._failures.append(
            Failure(
                request_id=sequence.request.request_id,
                now_ns=now_ns,
                slots_asked=slots,
                slots_free=self._memory.slots_free,
                largest_hole=self._memory.largest_hole,
            )
        )

    def _accept(self, sequence: Sequence, sampled: SampledToken) -> Delta:
        request_id = sequence.request.request_id
        first_index = len(sequence.output)
        finish = sequence.accept(sampled)
        if finish is not None:
            self._running.remove(sequence)
            sequence.move_to(SequenceState.FINISHED)
            sequence.block_table.clear()
            self._memory.release(self._runs.pop(request_id))
        return Delta(
            request_id=request_id,
            choice=sequence.choice,
            first_index=first_index,
            tokens=(sampled,),
            finish=finish,
            hit_tokens=sequence.hit_tokens,
        )


@dataclass(slots=True)
class _Draft:
    """A step in the making."""

    budget: int
    sequences: list[Sequence] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    copies: list[BlockCopy] = field(default_factory=list)

    def add(self, sequence: Sequence) -> None:
        """Feed as much of the sequence as the budget allows, if it allows any."""
        start = sequence.computed
        stop = min(sequence.length, start + self.budget)
        if start == stop:
            return
        self.budget -= stop - start
        row = Row(
            tokens=sequence.tokens(start, stop),
            start=start,
            block_table=tuple(sequence.block_table),
            samples=sequence.samples(stop),
        )
        self.rows.append(row)
        self.sequences.append(sequence)


def area(run: Run, kind: str) -> Area:
    return Area(run.start, run.stop, kind)
