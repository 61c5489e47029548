"""What an engine will not take, said before any work is done.

A refusal is a promise kept early: whatever is not refused finishes. A request
is measured against the whole pool at its greatest possible length, so an
admitted one cannot run out of memory for good; it can only wait.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from protos.messages import ModelCard, Refusal, RefusalReason, Request, SamplingParams
from replicas.engine.config import EngineConfig


def refusal(request: Request, config: EngineConfig) -> Refusal | None:
    """Why this request can never run under this configuration; None if it can."""
    fault = _fault(request, config)
    if fault is None:
        return None
    return refuse(request, *fault)


def refuse(request: Request, reason: RefusalReason, message: str) -> Refusal:
    """A refusal of this request, of the choice that it begins with."""
    return Refusal(request.request_id, reason, message, request.first_choice)


def output_max(request: Request, card: ModelCard) -> int:
    """Tokens of a whole completion: where the context ends before, its rest."""
    return min(request.sampling.tokens_max, card.context_tokens_max - len(request.prompt))


def blocks_peak(request: Request, card: ModelCard) -> int:
    """Most blocks that all choices together can ever need.

    Full prompt blocks are shared. The token sampled last is never fed, so it
    needs no slot; and choices of one token never write.
    """
    prompt, output = len(request.prompt), output_max(request, card)
    shared = prompt // card.block_size
    each = -(-(prompt + output - 1) // card.block_size) - shared
    return shared + each * (request.choices if output > 1 else 1)


def _fault(request: Request, config: EngineConfig) -> tuple[RefusalReason, str] | None:
    card, prompt = config.card, request.prompt
    invalid = _invalid(request, config)
    if invalid is not None:
        return RefusalReason.INVALID, invalid
    if not (_are_within(prompt, card.vocab_size) and _are_within(request.output, card.vocab_size)):
        return RefusalReason.TOKEN_OUT_OF_RANGE, (
            f"The prompt has a token outside the vocabulary of {card.vocab_size}."
        )
    if len(prompt) >= card.context_tokens_max:
        return RefusalReason.CONTEXT_EXCEEDED, (
            f"The prompt of {len(prompt)} tokens leaves no room for a completion in the"
            f" context of {card.context_tokens_max}."
        )
    if len(request.output) >= output_max(request, card):
        return RefusalReason.INVALID, (
            f"After {len(request.output)} tokens of output there is nothing left to generate."
        )
    blocks = blocks_peak(request, card)
    if blocks > config.blocks_total:
        return RefusalReason.NEVER_FITS, (
            f"The request may need {blocks} blocks of {card.block_size} tokens; this replica"
            f" has {config.blocks_total}."
        )
    return None


def _are_within(tokens: Sequence[int], vocab_size: int) -> bool:
    """Whether all are ids of this vocabulary. To encode them finds what is negative fastest."""
    try:
        array("I", tokens)
    except OverflowError:
        return False
    return max(tokens, default=0) < vocab_size


def _invalid(request: Request, config: EngineConfig) -> str | None:
    if not request.prompt:
        return "The prompt is empty."
    if not 1 <= request.choices <= config.sequences_max:
        return f"choices must be from 1 to {config.sequences_max}, not {request.choices}."
    if request.output and request.choices > 1:
        return "A request with output resumes exactly one choice."
    if request.first_choice < 0:
        return "first_choice must be at least 0."
    if request.sampling.grammar and not config.takes_grammars:
        return "This replica has no vocabulary and cannot follow a grammar."
    return _invalid_sampling(request.sampling, config.card)


def _invalid_sampling(params: SamplingParams, card: ModelCard) -> str | None:
    rules = (
        (params.tokens_max >= 1, "tokens_max must be at least 1"),
        (0 <= params.tokens_min <= params.tokens_max, "tokens_min must be from 0 to tokens_max"),
        (not (params.grammar and params.tokens_min), "a grammar ends by itself: no tokens_min"),
        (_is_within(params.temperature, 0, math.inf), "temperature must be finite and at least 0"),
        (params.top_k is None or params.top_k >= 1, "top_k must be at least 1"),
        (params.top_p > 0 and _is_within(params.top_p, 0, 1), "top_p must be above 0, at most 1"),
        (_is_within(params.min_p, 0, 1), "min_p must be from 0 to 1"),
        (
            params.repetition_penalty > 0 and math.isfinite(params.repetition_penalty),
            "repetition_penalty must be finite and above 0",
        ),
        (math.isfinite(params.presence_penalty), "presence_penalty must be finite"),
        (math.isfinite(params.frequency_penalty), "frequency_penalty must be finite"),
        (params.logprobs is None or params.logprobs >= 0, "logprobs must be at least 0"),
        (
            all(0 <= token < card.vocab_size for token in params.stop_token_ids),
            f"stop_token_ids must be inside the vocabulary of {card.vocab_size}",
        ),
    )
    return next((f"{rule}." for holds, rule in rules if not holds), None)


def _is_within(value: float, low: float, high: float) -> bool:
    return math.isfinite(value) and low <= value <= high
