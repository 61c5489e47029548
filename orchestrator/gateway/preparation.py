"""From an Ask to the Request that replicas understand: token ids and numbers.

Everything that can be refused without asking a replica is refused here: the
wrong model, an empty prompt, ids outside the vocabulary, a prompt that leaves
no room for a completion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from hashlib import blake2b

from orchestrator.gateway.ask import Ask, Conversation, Options, Prompt, Text, Tokens, invalid
from orchestrator.gateway.errors import InvalidRequest, NotFound
from orchestrator.gateway.tokenizer import Tokenizer
from orchestrator.policy.room import tokens_room
from protos.messages import ModelCard, Request, RequestId, SamplingParams

# Encoding runs at about 1 MB/s: beyond this it would hold up every stream of
# the gateway for more than some 10 ms, so it moves to a thread.
INLINE_CHARACTERS_MAX = 16_000

_SEED_RANGE = 2**62  # leaves room for the choices' own seeds in a signed 64-bit integer


async def prepare(
    ask: Ask, *, card: ModelCard, tokenizer: Tokenizer, pools: Sequence[int]
) -> Request:
    """The request to dispatch. `ask.options` have been checked. Raises InvalidRequest, NotFound.

    `pools` are the total blocks of the live replicas: they bound the length
    of a completion that the client left open. One that it gave stays, to be
    refused where it never fits.
    """
    if ask.model is not None and ask.model != card.name:
        raise NotFound(
            f"there is no model {ask.model!r} here; {card.name!r} is served",
            code="model_not_found",
            param="model",
        )
    if ask.options.grammar and not tokenizer.eos_ids:
        raise InvalidRequest(
            "this model has no end token, so structured output would never end",
            code="no_end_token",
        )
    prompt = await _prompt_tokens(ask.prompt, tokenizer)
    _check_prompt(prompt, card)
    _check_ids(ask.options.stop_token_ids, card, param="stop_token_ids")
    return Request(
        request_id=ask.request_id,
        prompt=prompt,
        sampling=_sampling(ask, tokenizer, tokens_max=_tokens_max(ask, len(prompt), card, pools)),
        choices=ask.options.n,
        salt=ask.salt,
        request_class=ask.request_class,
        tenant=ask.tenant,
    )


async def _prompt_tokens(prompt: Prompt, tokenizer: Tokenizer) -> tuple[int, ...]:
    encode: Callable[[str], tuple[int, ...]]
    match prompt:
        case Tokens(ids):
            return ids
        case Text(text):
            encode = tokenizer.encode_text
        case Conversation(messages):
            if tokenizer.chat_template is None:
                raise InvalidRequest(
                    "this model has no chat template; complete a prompt instead",
                    code="no_chat_template",
                )
            text = tokenizer.chat_template.render(messages)
            encode = tokenizer.encode_conversation
    if tokenizer.fresh_characters(text) > INLINE_CHARACTERS_MAX:
        return await asyncio.to_thread(encode, text)
    return encode(text)


def _check_prompt(prompt: Sequence[int], card: ModelCard) -> None:
    if not prompt:
        raise invalid("prompt", "is empty", code="empty_prompt")
    _check_ids(prompt, card, param="prompt")
    if len(prompt) >= card.context_tokens_max:
        raise InvalidRequest(
            f"this model's context is {card.context_tokens_max} tokens, and a prompt must leave "
            f"room for one more; this prompt has {len(prompt)}",
            code="context_length_exceeded",
            param="prompt",
        )


def _check_ids(ids: Sequence[int], card: ModelCard, *, param: str) -> None:
    if ids and not (min(ids) >= 0 and max(ids) < card.vocab_size):
        raise invalid(
            param,
            f"has a token id outside the vocabulary (0 to {card.vocab_size - 1})",
            code="token_out_of_range",
        )


def _tokens_max(ask: Ask, prompt_tokens: int, card: ModelCard, pools: Sequence[int]) -> int:
    rest = card.context_tokens_max - prompt_tokens
    asked = ask.options.max_tokens
    if asked is None:
        asked = tokens_room(
            pools,
            prompt_tokens=prompt_tokens,
            choices=ask.options.n,
            block_size=card.block_size,
        )
    return rest if asked is None else min(asked, rest)


def _sampling(ask: Ask, tokenizer: Tokenizer, *, tokens_max: int) -> SamplingParams:
    options = ask.options
    return SamplingParams(
        tokens_max=tokens_max,
        tokens_min=min(options.min_tokens, tokens_max),
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        seed=_seed(options, ask.request_id),
        repetition_penalty=options.repetition_penalty,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        stop_token_ids=_stop_token_ids(options, tokenizer),
        logprobs=options.logprobs,
        grammar=options.grammar,
    )


def _stop_token_ids(options: Options, tokenizer: Tokenizer) -> tuple[int, ...]:
    ends = frozenset[int]() if options.ignore_eos else tokenizer.eos_ids
    return tuple(sorted(ends.union(options.stop_token_ids)))


def _seed(options: Options, request_id: RequestId) -> int:
    """The client's seed, or one that differs between requests and is the same for a retry."""
    if options.seed is not None:
        return options.seed % _SEED_RANGE
    digest = blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % _SEED_RANGE
