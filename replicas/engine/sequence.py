"""One choice of a request inside the engine: its tokens, its blocks, its progress.

A sequence is its prompt followed by its output. `computed` says for how many
of these tokens the KV is in place; the others are still to be fed. Prefill and
decode differ only in how many remain: a decode has one token to feed, the one
sampled last, whose KV does not exist yet. So a finished sequence has computed
one token less than it holds.

A request with several choices begins as one sequence that owes `unforked`
siblings. When its prompt is computed, they fork: each starts with the same
blocks and its own first token, and from then on is a sequence like any other.
A choice that began on another replica begins here with the output it has; one
that moves here with its KV is *reserved* until all of it is in place. One whose
first blocks are copied here before it begins is *held* until they are.

A sequence moves no block: it holds the table, others fill and empty it.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as ReadOnly
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from protos.hashing import BlockHash, block_hash, block_hashes
from protos.messages import FinishReason, Request, SampledToken
from replicas.engine.lookup import Lookup
from replicas.engine.plan import BlockId, Sample
from replicas.engine.stored import NOTHING_STORED, Stored


class SequenceState(Enum):
    """Where a sequence is in its life."""

    WAITING = "waiting"  # for its first admission
    HELD = "held"  # as waiting, but beside the line: its first blocks are on their way
    RESERVED = "reserved"  # has blocks, runs elsewhere: its KV is on the way
    RUNNING = "running"  # has blocks, may be in a step; a forked sibling is born so
    FROZEN = "frozen"  # as running, but in no step: it is about to leave with its KV
    PREEMPTED = "preempted"  # lost its blocks, waits in its old place to have them again
    FINISHED = "finished"  # or cancelled, or gone to another replica


LEGAL_TRANSITIONS: Final[Mapping[SequenceState, frozenset[SequenceState]]] = {
    SequenceState.WAITING: frozenset(
        {SequenceState.HELD, SequenceState.RUNNING, SequenceState.FINISHED}
    ),
    SequenceState.HELD: frozenset({SequenceState.WAITING, SequenceState.FINISHED}),
    SequenceState.RESERVED: frozenset({SequenceState.RUNNING, SequenceState.FINISHED}),
    SequenceState.RUNNING: frozenset(
        {SequenceState.FROZEN, SequenceState.PREEMPTED, SequenceState.FINISHED}
    ),
    SequenceState.FROZEN: frozenset(
        {SequenceState.RUNNING, SequenceState.PREEMPTED, SequenceState.FINISHED}
    ),
    SequenceState.PREEMPTED: frozenset({SequenceState.RUNNING, SequenceState.FINISHED}),
    SequenceState.FINISHED: frozenset(),
}


@dataclass(slots=True, eq=False)
class Sequence:
    """Mutable, and owned by the scheduler. Two sequences are equal when they are the same one."""

    request: Request
    root: BlockHash  # of its hash chain
    block_size: int
    output_max: int  # tokens_max, or less where the context ends before
    arrival: int = 0  # given by the line: its place among its like, see `place`
    begin_by_ns: int = 0  # when its client, or its patience, wants it to have begun
    due_ns: int = 0  # when its prompt is due: later than that by what it takes to compute
    deadline_ns: int | None = None  # until it has begun: nobody wants it later
    has_begun: bool = False  # it has run here, whether or not it still does
    unforked: int = 0  # siblings that fork when the prompt is computed
    choice: int = 0
    state: SequenceState = SequenceState.WAITING
    output: list[int] = field(default_factory=list)
    block_table: list[BlockId] = field(default_factory=list)
    computed: int = 0  # tokens whose KV is in place
    named: int = 0  # leading blocks of the table that are findable
    found: int = 0  # while it waits: leading blocks in the cache when it was last looked up
    found_in_use: int = 0  # of those, the ones that others held already
    wanted: int = 0  # while it is held: leading blocks that shall be here when it is let go
    stored: Stored = NOTHING_STORED  # of its blocks, those in host memory while it is preempted
    copied: range = range(0)  # of its blocks, those that came from another replica for it
    is_private: bool = False  # a collision of digests: no further block can be named
    prefill_end: int = 0  # tokens known at its last admission: below this it prefills
    recomputed_end: int = 0  # tokens computed once before a preemption
    hit_tokens: int = 0  # found at the first admission
    copied_tokens: int = 0  # of these, the ones that had been copied for it
    mover: object | None = None  # the handle of its open export, if there is one
    rank: int = field(init=False)  # of its class: 0 is served first
    _chain: list[BlockHash] = field(default_factory=list)
    _sample: Sample | None = None  # its own: the same at each of its tokens
    _lookup: Lookup | None = None  # once it has guessed

    def __post_init__(self) -> None:
        self.rank = self.request.request_class.rank

    @property
    def length(self) -> int:
        """Tokens known: prompt and output."""
        return len(self.request.prompt) + len(self.output)

    @property
    def is_prefilling(self) -> bool:
        """Whether it still computes what was known when it was admitted."""
        return self.computed < self.prefill_end

    @property
    def tokens_left(self) -> int:
        """Until its output is as long as it may be."""
        return self.output_max - len(self.output)

    def in_place(self, blocks: int) -> int:
        """Tokens that need not be computed if so many leading blocks are on the device."""
        return self.stored.reach(blocks * self.block_size)

    @property
    def slots_left(self) -> int:
        """Of its blocks: the tokens whose KV still fits."""
        return len(self.block_table) * self.block_size - self.computed

    @property
    def is_running(self) -> bool:
        """Whether it has blocks and a place among those running, frozen or not."""
        return self.state in (SequenceState.RUNNING, SequenceState.FROZEN)

    @property
    def place(self) -> tuple[int, bool, int, int, int]:
        """In the line: by class; in it those who have begun, in that order, then who is due first.

        Of several due at once the first to come, and within a request by choice.
        """
        due_ns = 0 if self.has_begun else self.due_ns
        return self.rank, not self.has_begun, due_ns, self.arrival, self.choice

    def is_overdue(self, now_ns: int) -> bool:
        """Whether nobody wants it any more: its deadline has passed, and it has not begun."""
        return not self.has_begun and self.deadline_ns is not None and self.deadline_ns <= now_ns

    @property
    def label(self) -> str:
        """What an assertion calls it."""
        return f"{self.request.request_id}/{self.choice}"

    def tokens(self, start: int, stop: int) -> tuple[int, ...]:
        """The known tokens at positions `start` to `stop - 1`."""
        prompt = self.request.prompt
        if stop <= len(prompt):
            return prompt[start:stop]
        if start >= len(prompt):
            return tuple(self.output[start - len(prompt) : stop - len(prompt)])
        return (*prompt[start:], *self.output[: stop - len(prompt)])

    def block_tokens(self, index: int) -> tuple[int, ...]:
        """The tokens of a full block."""
        return self.tokens(index * self.block_size, (index + 1) * self.block_size)

    def name_prompt(self) -> None:
        """Name the prompt's full blocks at once, which costs less than one by one."""
        assert not self._chain, "named before"
        self._chain.extend(
            block_hashes(self.request.prompt, block_size=self.block_size, root=self.root)
        )

    def block_name(self, index: int) -> BlockHash:
        """Name of a full block of known tokens; each is computed once."""
        assert (index + 1) * self.block_size <= self.length, f"block {index} is not full"
        while len(self._chain) <= index:
            self._chain.append(
                block_hash(self.parent_name(len(self._chain)), self.block_tokens(len(self._chain)))
            )
        return self._chain[index]

    def parent_name(self, index: int) -> BlockHash:
        """Name of the block before, which is the root before the first."""
        return self.block_name(index - 1) if index else self.root

    def samples(self, stop: int) -> tuple[Sample, ...]:
        """What to sample once the tokens below `stop` are fed: nothing before the last one."""
        if stop < self.length:
            return ()
        if self._sample is None:
            self._sample = self._sample_of(self.choice)
        if not self.unforked:
            return (self._sample,)
        siblings = range(self.choice + 1, self.choice + 1 + self.unforked)
        return (self._sample, *map(self._sample_of, siblings))

    def _sample_of(self, choice: int) -> Sample:
        params, prompt = self.request.sampling, self.request.prompt
        # The live output list: it changes only when a step's outcome is applied.
        return Sample(params, params.seed + choice, prompt, self.output)

    def move_to(self, state: SequenceState) -> None:
        """Change state. An illegal transition is a bug. Who loses its blocks cannot be moved."""
        assert state in LEGAL_TRANSITIONS[self.state], (
            f"{self.label}: {self.state.value} to {state.value}"
        )
        self.state = state
        if not self.is_running:
            self.mover = None

    def admit(self) -> None:
        """Start to run with the blocks now in the table, of which `named` hold KV already.

        What is stored behind them will be loaded before anything of it is computed.
        """
        first = self.state is SequenceState.WAITING
        self.move_to(SequenceState.RUNNING)
        self.computed = self.in_place(self.named)
        self.prefill_end = self.length
        if first:
            self.hit_tokens = self.computed
            found = range(self.copied.start, min(self.copied.stop, self.named))
            self.copied_tokens = len(found) * self.block_size

    def take_over(self, output: ReadOnly[int], computed: int) -> None:
        """Run on from where it was elsewhere: the KV of `computed` tokens is in the table."""
        # What it said elsewhere was generated, not given: so it counts here, too.
        self.request = replace(self.request, output=())
        self.output = list(output)
        self._sample = None
        self.computed = max(computed, self.named * self.block_size)
        # One token left to feed is a decode, more are a prefill that goes on.
        self.prefill_end = self.length if self.length - self.computed > 1 else self.computed

    def preempt(self) -> None:
        """Forget what was computed; its blocks have been released."""
        assert not self.block_table, "preempted with its blocks"
        self.move_to(SequenceState.PREEMPTED)
        self.recomputed_end = max(self.recomputed_end, self.computed)
        self.found, self.found_in_use = self.named, 0  # cached from now on, unless shared
        self.computed = self.named = 0

    def fork(self) -> Sequence:
        """The next sibling, with a copy of this table: the caller takes the references."""
        assert self.unforked and not self.output and self.computed == self.length, "early fork"
        sibling = Sequence(
            request=self.request,
            root=self.root,
            block_size=self.block_size,
            arrival=self.arrival,
            has_begun=self.has_begun,
            output_max=self.output_max,
            choice=self.request.first_choice + self.request.choices - self.unforked,
            state=SequenceState.RUNNING,
            block_table=list(self.block_table),
            computed=self.computed,
            named=self.named,
            is_private=self.is_private,
            prefill_end=self.prefill_end,
            hit_tokens=self.hit_tokens,
            _chain=list(self._chain),
        )
        self.unforked -= 1
        return sibling

    def guesses(self, limit: int) -> tuple[int, ...]:
        """What it may say next, at most `limit` tokens."""
        if self._lookup is None:
            self._lookup = Lookup()
        self._lookup.extend(self.tokens(self._lookup.length, self.length))
        return self._lookup.guesses(limit)

    def settle(self, guesses: int, sampled: tuple[SampledToken, ...]) -> tuple[SampledToken, ...]:
        """Of the tokens that so many guesses gained, those up to the one that ends it."""
        assert self._lookup is not None, "guesses of a sequence that has made none"
        self._lookup.learn(guesses, accepted=len(sampled) - 1)
        for place, each in enumerate(sampled, len(self.output)):
            if self._finish_of(each.token, place) is not None:
                return sampled[: place + 1 - len(self.output)]
        return sampled

    def accept(self, sampled: SampledToken) -> FinishReason | None:
        """Add a sampled token; answers why it was the last one, if it was."""
        finish = self._finish_of(sampled.token, len(self.output))
        self.output.append(sampled.token)
        return finish

    def _finish_of(self, token: int, place: int) -> FinishReason | None:
        """Why this token at this place of the output is the last one, if it is."""
        params = self.request.sampling
        if place >= params.tokens_min and token in params.stop_token_ids:
            return FinishReason.STOP
        if place + 1 >= self.output_max:
            return FinishReason.LENGTH
        return None
