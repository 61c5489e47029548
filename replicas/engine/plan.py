"""One step as data: what the scheduler wants computed, and what came back.

A step is one forward pass over a mixed batch: some rows decode one token,
some prefill a chunk of a prompt; a row does not say which. Copies happen
before any row is computed, so that a row may write where a copy landed.
Rows are valid for this step only; the executor keeps nothing between steps
but the KV blocks themselves.

Some plans may be *repeated*: where the next steps would be the same but for
their tokens, an executor can take them in a row by itself, each feeding what
the one before chose, one position further, and tell the outcomes together.
The engine then has less to do for each token. One that does a single step as
ever is as right, and so is one that ends early, between any two steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType

from protos.messages import SampledToken, SamplingParams

BlockId = NewType("BlockId", int)


@dataclass(frozen=True, slots=True)
class BlockCopy:
    """Copy-on-write: the first `slots` token slots of `source` into `target`, in all layers."""

    source: BlockId
    target: BlockId
    slots: int


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
    completes.
    """

    tokens: tuple[int, ...]
    start: int
    block_table: tuple[BlockId, ...]
    samples: tuple[Sample, ...]


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
    steps_max: int = 1  # in a row by this plan; more than one only where all rows are decodes


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """Chosen tokens: one tuple per row of the plan, one token per sample of the row.

    Of a plan that was repeated, one token per step, in order.
    """

    sampled: tuple[tuple[SampledToken, ...], ...]
    steps: int = 1  # that were taken, at most the plan's `steps_max`
    forward_ns: int = 0  # spent in the model itself, where that is measured
