"""One step as data: what the scheduler wants computed, and what came back.

A step is one forward pass over a mixed batch: some rows decode one token,
some prefill a chunk of a prompt; a row does not say which. Before any row is
computed blocks are moved, in this order: saves, copies, loads. So a block that
was saved may be a copy's target, one that was copied may be loaded over, and a
row may write where a copy or a load landed.
Rows are valid for this step only; the executor keeps nothing between steps
but the KV blocks themselves, and what was saved in slots of host memory.

Some plans may be *repeated*: where the next steps would be the same but for
their tokens, an executor can take them in a row by itself, each feeding what
the one before chose, one position further, and tell the outcomes together.
The engine then has less to do for each token. One that does a single step as
ever is as right, and so is one that ends early, between any two steps.

The last tokens of a row may be *guesses*: nobody has chosen them yet, but
they may be what will be chosen. A token is then chosen behind each of them, too,
and as a choice depends on nothing but what is before it, those that stand behind
guesses that were right are the ones that would have come step by step. The KV of
the others is left where the next tokens go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType

from protos.messages import SampledToken, SamplingParams

BlockId = NewType("BlockId", int)
HostSlot = NewType("HostSlot", int)  # a place for one block in host memory


@dataclass(frozen=True, slots=True)
class BlockCopy:
    """Copy-on-write: the first `slots` token slots of `source` into `target`, in all layers."""

    source: BlockId
    target: BlockId
    slots: int


@dataclass(frozen=True, slots=True)
class BlockSave:
    """All of `block`, in all layers, into a slot of host memory."""

    block: BlockId
    slot: HostSlot


@dataclass(frozen=True, slots=True)
class BlockLoad:
    """And back, the bytes as they were saved, into any block."""

    slot: HostSlot
    block: BlockId


@dataclass(frozen=True, slots=True)
class Sample:
    """Choose one next token from the logits of a row's last token.

    `prompt` and `output` are the choice's tokens so far (read for penalties
    only, never kept); the chosen token takes position `len(prompt) +
    len(output)`, and `seed` is already this choice's own.
    """

    params: SamplingParams
    seed: int
    prompt: Sequence[int]
    output: Sequence[int]


@dataclass(frozen=True, slots=True)
class Row:
    """Compute KV for `tokens` at positions `start, start + 1, ...` of one sequence.

    `block_table` covers every position below `start + len(tokens)`; positions
    below `start` are in place; where the plan may be repeated, it covers the
    positions of the repeats as well. `samples` is empty in the middle of a prefill,
    one for a decode, and one per choice when a prompt with several choices
    completes. Where there are `guesses`, so many of the last tokens, it is one
    in the place before them.
    """

    tokens: tuple[int, ...]
    start: int
    block_table: tuple[BlockId, ...]
    samples: tuple[Sample, ...]
    guesses: int = 0

    @property
    def guessed(self) -> tuple[int, ...]:
        """The guesses themselves."""
        return self.tokens[len(self.tokens) - self.guesses :]

    @property
    def asked(self) -> range:
        """How far before its last token each of those is behind which something is chosen."""
        return range(self.guesses, -1, -1) if self.samples else range(0)


def context_of(start: int, stop: int) -> int:
    """What the tokens at positions `start` to `stop - 1` attend to: those before each, summed."""
    return (stop - start) * (start + stop - 1) // 2


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The whole step. Never empty of rows."""

    copies: tuple[BlockCopy, ...]
    rows: tuple[Row, ...]
    prefill_tokens: int = 0  # of the rows' tokens, those that are no decodes
    prefill_context: int = 0  # the tokens before each of these, summed up
    is_full: bool = False  # no more prompt tokens were let in: the budget for them is spent
    # In a row by this plan; more than one only where all rows are decodes without guesses.
    steps_max: int = 1
    saves: tuple[BlockSave, ...] = ()
    loads: tuple[BlockLoad, ...] = ()


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """Chosen tokens: one tuple per row of the plan, one token per sample of the row.

    Of a plan that was repeated, one token per step, in order. Of a row with guesses,
    those that were right, and the token that was chosen behind them (`acceptance`).
    """

    sampled: tuple[tuple[SampledToken, ...], ...]
    steps: int = 1  # that were taken, at most the plan's `steps_max`
    forward_ns: int = 0  # spent in the model itself, where that is measured
