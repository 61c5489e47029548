"""What an engine is told at its start: the model's card and its bounds.

Everything here is a bound on something: blocks, tokens of a step, sequences
running, requests waiting. The engine knows no other limits, and none of these
changes while it runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from protos.messages import ModelCard
from replicas.engine.lookup import TOKEN_MAX

# Token ids are hashed as unsigned 32-bit integers (protos.hashing).
VOCAB_SIZE_MAX = 2**32


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Bounds of one engine. A nonsensical one raises ValueError with a sentence."""

    card: ModelCard
    blocks_total: int
    step_tokens_max: int = 256  # token budget of a step
    sequences_max: int = 64  # running at once; a request counts all its choices
    # Sequences queued of a newcomer's class and better ones; one more is refused as QUEUE_FULL.
    # Worse ones do not count, so that they cannot lock it out: one bound for each class in all.
    waiting_max: int = 512
    # Inside a class whoever is due first goes first. Who names no deadline, or a later one, is
    # due after so long: nobody who comes later than that overtakes him. As at the gateways.
    patience_ms: int = 30_000
    # And everybody is due later by so much for each token of his prompt that is to be computed:
    # roughly what it takes, beside others and with its context. 0: the length does not matter.
    prompt_token_ns: int = 0
    # An admission leaves so many blocks available for each sequence it will run beside.
    # 1 instead of 0: 22 to 76 % fewer preemptions for at most 1.2 % more steps, measured
    # over five random loads of pools that are too small for them.
    watermark_blocks: int = 1
    # Admissions of other classes leave so many blocks available to the interactive one. They
    # are lent while nobody interactive has been here for `headroom_steps`.
    headroom_blocks: int = 0
    # Until then, prompts of other classes share so many tokens of a step: somebody interactive
    # waits for the step under way, so its length is what the others cost him. With agents that
    # saturate a GPU, p99 TTFT of chats is 1.2 times what it is without them; it is 1.8 times
    # with 512 tokens, and 3.9 with all 2048 of a step (tests/benchmarks/LOG.md).
    yielding_tokens_max: int = 256
    headroom_steps: int = 512
    # Slots of host memory, one block each, for the KV of who was preempted; 0: it is recomputed.
    host_blocks: int = 0
    host_block_ns: int = 0  # that a block takes out to the host and back; see `prompt_token_ns`
    takes_grammars: bool = False  # whether the executor knows how tokens are written
    steps_max: int = 1  # by one plan, where the executor can repeat it
    # Tokens that a decode may guess in a step, to get several at once. 0: none.
    guesses_max: int = 0

    def __post_init__(self) -> None:
        for name, value in (
            ("card.block_size", self.card.block_size),
            ("card.context_tokens_max", self.card.context_tokens_max),
            ("card.vocab_size", self.card.vocab_size),
            ("blocks_total", self.blocks_total),
            ("step_tokens_max", self.step_tokens_max),
            ("sequences_max", self.sequences_max),
            ("waiting_max", self.waiting_max),
            ("patience_ms", self.patience_ms),
            ("yielding_tokens_max", self.yielding_tokens_max),
            ("steps_max", self.steps_max),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}.")
        if self.card.vocab_size > VOCAB_SIZE_MAX:
            raise ValueError(f"card.vocab_size must be at most 2**32, not {self.card.vocab_size}.")
        if self.guesses_max and self.card.vocab_size > TOKEN_MAX + 1:
            raise ValueError(f"guesses_max must be 0 for {self.card.vocab_size} tokens.")
        for name, value in (
            ("watermark_blocks", self.watermark_blocks),
            ("headroom_blocks", self.headroom_blocks),
            ("headroom_steps", self.headroom_steps),
            ("prompt_token_ns", self.prompt_token_ns),
            ("guesses_max", self.guesses_max),
            ("host_blocks", self.host_blocks),
            ("host_block_ns", self.host_block_ns),
        ):
            if value < 0:
                raise ValueError(f"{name} must be at least 0, not {value}.")
