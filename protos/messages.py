"""Plain data that every part of the system speaks. No behaviour beyond totals.

Frozen dataclasses over ints, strings and tuples: a message can be logged,
compared, hashed and replayed. Time is integer nanoseconds, memory is blocks.
A `Request` is what a client asked; inside an engine each of its choices is a
sequence. A `Delta` is what one engine step added to one choice; its index
makes loss and duplication visible to whoever follows the stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NewType

from protos.hashing import BlockHash, scope_hash

ReplicaId = NewType("ReplicaId", str)
RequestId = NewType("RequestId", str)
# One choice of one request inside one replica, for as long as it is there.
SequenceId = NewType("SequenceId", str)


class RequestClass(Enum):
    """How urgent a request is. What waits or gives way first stands last."""

    INTERACTIVE = "interactive"  # a person looks at the first token
    AGENT = "agent"  # a program waits for the whole answer
    BATCH = "batch"  # whenever there is room

    rank: int  # 0 is served first

    def __init__(self, _: str) -> None:
        self.rank = len(type(self).__members__)  # of those before it


class Standing(Enum):
    """Whether a replica takes new work, and why not."""

    OPEN = "open"
    CORDONED = "cordoned"  # takes none; what it has stays
    LEAVING = "leaving"  # takes none, and is to be emptied


class FinishReason(Enum):
    """Why a choice ended. The values are OpenAI's where OpenAI has one."""

    STOP = "stop"  # a stop token id, or (decided by the gateway) a stop string
    LENGTH = "length"  # tokens_max or the model's context
    CANCELLED = "cancelled"  # its client left


class RefusalReason(Enum):
    """Why a replica will not run a request. Nothing was generated."""

    NEVER_FITS = "never_fits"  # needs more blocks than the replica has in all
    CONTEXT_EXCEEDED = "context_exceeded"  # prompt longer than the model's context
    TOKEN_OUT_OF_RANGE = "token_out_of_range"  # a prompt token outside the vocabulary
    INVALID = "invalid"  # empty prompt, duplicate id, impossible sampling parameters
    QUEUE_FULL = "queue_full"  # the replica's waiting queue is at its bound
    OVERDUE = "overdue"  # its deadline passed while it waited
    DRAINING = "draining"  # the replica takes no new work; another one may
    GONE = "gone"  # nothing of this request is here to be adopted


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen. Greedy when temperature is 0.

    Sampling is a function of (seed, position, logits) alone, so a choice can
    continue elsewhere with the very tokens it would have had here. Choice i of
    a request samples with `seed + i`.
    """

    tokens_max: int
    tokens_min: int = 0  # stop_token_ids cannot be sampled before
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    repetition_penalty: float = 1.0  # over prompt and completion
    presence_penalty: float = 0.0  # over the completion
    frequency_penalty: float = 0.0  # over the completion
    stop_token_ids: tuple[int, ...] = ()  # the model's own end tokens included, unless ignored
    logprobs: int | None = None  # None: not asked; k: the chosen token's and the k best
    grammar: str = ""  # in llguidance's notation; what the output must match; empty: anything


@dataclass(frozen=True, slots=True)
class CopySource:
    """A replica that holds the first `blocks` blocks of a prompt, by the sender's belief."""

    replica_id: ReplicaId
    address: str
    blocks: int


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to complete `choices` times. Token ids only: replicas know no text.

    A request that resumes a choice elsewhere carries what its client has of it
    already: `output` counts like any output, for penalties, limits and
    positions, and is never delivered again. Deltas are numbered from
    `first_choice` on, and choice i samples as choice i of the first request.
    """

    request_id: RequestId
    prompt: tuple[int, ...]
    sampling: SamplingParams
    choices: int = 1
    salt: bytes = b""  # requests of another salt never share a block with this one
    output: tuple[int, ...] = ()  # of the one choice, which goes on after it
    first_choice: int = 0
    request_class: RequestClass = RequestClass.INTERACTIVE
    tenant: str = ""  # whose request it is, for fair shares; empty: nobody in particular
    traceparent: str = ""  # what its spans belong to (protos.trace); empty: nothing
    # How long its client still waits, from when the request was sent; None: as long as it takes.
    # A span and no moment: no two machines need to agree about the time.
    deadline_ms: int | None = None
    # Where its first blocks may be had instead of being computed. Advice: what comes of it costs
    # time at worst, so it is no part of what its tokens depend on.
    copy_from: CopySource | None = None

    @property
    def given_tokens(self) -> int:
        """Tokens there are before the next one is sampled: prompt and resumed output."""
        return len(self.prompt) + len(self.output)


@dataclass(frozen=True, slots=True)
class SampledToken:
    """A chosen token with its log-probability and the best alternatives, when asked for.

    Log-probabilities are of the model's distribution after penalties, before
    temperature and truncation.
    """

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """Where a replica's time for one choice went, since it came there. Nothing overlaps."""

    queue_ns: int  # until it was first in a step
    prefill_ns: int  # from then to its first token here
    decode_ns: int  # from then until this was said
    chunks: int  # steps that computed parts of its prompt, or computed them again
    preemptions: int


@dataclass(frozen=True, slots=True)
class Delta:
    """What one step added to one choice: tokens `first_index, first_index + 1, ...`."""

    request_id: RequestId
    choice: int
    first_index: int
    tokens: tuple[SampledToken, ...]
    finish: FinishReason | None = None
    hit_tokens: int = 0  # tokens of prompt and resumed output whose KV was found, not computed
    account: Account | None = None  # with the choice's first delta from a replica, and its last


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that this replica did not take, and a sentence for its client."""

    request_id: RequestId
    reason: RefusalReason
    message: str
    choice: int = 0  # the first one that was asked for


@dataclass(frozen=True, slots=True)
class Handoff:
    """Choices that this replica has given away: nothing more of them comes from here.

    The deltas before it are complete. With a `target` the sequence is there,
    with its KV, and waits to be adopted; without one it is to be resumed
    wherever there is room, from what was delivered.
    """

    request_id: RequestId
    choice: int  # the first of `choices`
    choices: int = 1  # more than one only where a prompt's choices have not forked yet
    target: ReplicaId | None = None
    account: Account | None = None  # of the first choice


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a replica serves. Replicas of one card can share prefixes by name."""

    name: str
    revision: str  # digest of configuration and weights: another revision, another KV
    dtype: str
    block_size: int
    context_tokens_max: int
    vocab_size: int

    def scope(self, salt: bytes = b"") -> BlockHash:
        """Root of every hash chain computed under this card and salt."""
        return scope_hash((self.name, self.revision, self.dtype, str(self.block_size)), salt)


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """Totals since the replica's epoch began. They only grow."""

    requests_finished: int = 0
    prompt_tokens: int = 0  # of admitted requests, resumed output included
    hit_tokens: int = 0  # of those, found in the prefix cache
    prefill_tokens: int = 0  # computed for the first time
    recomputed_tokens: int = 0  # computed again after a preemption
    decode_tokens: int = 0
    preemptions: int = 0
    steps: int = 0
    sequences_imported: int = 0  # taken over from other replicas, with their KV
    sequences_exported: int = 0  # given to other replicas
    copied_tokens: int = 0  # of hit_tokens, those that were there because they had been copied
    guessed_tokens: int = 0  # fed in the hope that they would be chosen
    # Of guessed_tokens, those that were: decodes without a step of their own.
    accepted_tokens: int = 0
    pauses: int = 0  # of the preemptions, those whose KV was saved in host memory
    restored_tokens: int = 0  # loaded from there: neither computed again nor found in the cache


@dataclass(frozen=True, slots=True)
class CopyTotals:
    """Of a replica's copies of cached blocks from other ones, since it started. They only grow."""

    blocks: int = 0  # that came and were put in place
    held_ns: int = 0  # for which requests waited for them, together
    ended: tuple[tuple[str, int], ...] = ()  # how copies ended (protos.moves.CopyOutcome), sorted


NO_COPIES = CopyTotals()


@dataclass(frozen=True, slots=True)
class StepTotals:
    """Of a replica's steps, and of who waited for one, since it started. They only grow."""

    rows: int = 0  # of all steps: by the number of steps, the size of a batch
    schedule_ns: int = 0  # to decide what steps compute
    execute_ns: int = 0  # to compute them, with the way to the executor and back
    forward_ns: int = 0  # of that, in the model itself
    apply_ns: int = 0  # to take what came of them, and to tell it
    admitted: int = 0  # choices that had to queue for their first step, be it for no time at all
    queue_ns: int = 0  # how long they did, together


NO_STEPS = StepTotals()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A replica's report. blocks_free + blocks_cached + blocks_used == blocks_total."""

    replica_id: ReplicaId
    epoch: int
    number: int  # grows by one with each snapshot of an epoch
    blocks_total: int
    blocks_free: int  # hold nothing
    blocks_cached: int  # hold a named block that no sequence uses; evictable
    blocks_used: int  # in at least one block table
    sequences_running: int
    sequences_waiting: int
    # Prompt tokens to compute, queued ones included, less what its cache held when last looked up.
    prefill_tokens_waiting: int
    blocks_waiting: int  # available blocks that the waiting sequences' prompts will take
    draining: bool
    step_ns: int  # recent mean duration of a step
    # Steps that were full, since the replica started: more prompt tokens waited than they took.
    full_ns: int = 0  # their total duration
    full_prefill_tokens: int = 0  # prompt tokens that they computed
    # Held or awaited by others than interactive requests, to which they give way.
    blocks_yielding: int = 0
    blocks_shared: int = 0  # in two tables or more
    # In use, and neither reserved nor of who gives way: they come back when somebody ends.
    blocks_unreclaimable: int = 0
    # Token slots in tables that hold nothing and that no prefill under way will fill.
    slots_unused: int = 0
    # How long the registry has been owed the oldest of what it does not know of this cache.
    registry_behind_ns: int = 0
    # What a copy of cached blocks to this replica costs: until the first one is here, and for
    # each. Both 0: it takes no copies.
    copy_start_ns: int = 0
    copy_block_ns: int = 0
    copies: CopyTotals = NO_COPIES
    # Of the prompt tokens to compute, and of those computed in full steps: what they attend to,
    # the number of tokens before each, summed up.
    prefill_context_waiting: int = 0
    full_prefill_context: int = 0
    host_blocks_total: int = 0  # that fit in the host memory for paused sequences
    host_blocks_used: int = 0
    counters: EngineCounters = field(default_factory=EngineCounters)
    totals: StepTotals = NO_STEPS

    @property
    def blocks_available(self) -> int:
        """Blocks an admission may count on: free ones and evictable ones."""
        return self.blocks_free + self.blocks_cached


@dataclass(frozen=True, slots=True)
class SequenceReport:
    """One sequence of a replica, as the control plane sees it."""

    sequence_id: SequenceId
    request_id: RequestId  # its client's, which other gateways may use, too
    choice: int
    request_class: RequestClass
    tenant: str
    tokens: int  # known: prompt and output
    blocks: int  # in its table; 0 while it waits
    blocks_own: int  # of these, the ones that nobody else uses
    tokens_left_max: int  # of output, until its limit
    is_waiting: bool  # for its first admission, or again after a preemption
    is_movable: bool  # not while its choices have yet to fork, or while it moves


@dataclass(frozen=True, slots=True)
class StepEvents:
    """Everything one gateway learns from one replica step, in one message.

    Deltas come before handoffs: a choice that is handed off may have gained
    its last token here in the same message.
    """

    deltas: tuple[Delta, ...]
    refusals: tuple[Refusal, ...]
    snapshot: Snapshot
    handoffs: tuple[Handoff, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockStored:
    """A full block can be found under this name from now on."""

    block_hash: BlockHash


@dataclass(frozen=True, slots=True)
class BlockRemoved:
    """The block of this name was evicted."""

    block_hash: BlockHash


BlockEvent = BlockStored | BlockRemoved
