from __future__ import annotations

import math
from dataclasses import replace

import pytest

from protos.messages import RefusalReason, Request, SamplingParams
from replicas.engine.config import EngineConfig
from replicas.engine.refusals import blocks_peak, output_max, refusal
from tests.unit.engine.driver import card, request

CONFIG = EngineConfig(card(block_size=4, context=64, vocab=1000), blocks_total=8, sequences_max=3)


@pytest.mark.parametrize(
    "taken",
    [
        request(prompt=1, tokens_max=1),
        request(prompt=(0, 999)),
        request(prompt=28, tokens_max=5),  # the last token needs no slot: 32 in all
        request(prompt=32, tokens_max=1),
        request(prompt=4, tokens_max=4, tokens_min=4, choices=3),
        request(prompt=28, tokens_max=5, output=(7, 7, 7, 7), first_choice=3),
    ],
)
def test_what_can_run_is_taken(taken: Request) -> None:
    assert refusal(taken, CONFIG) is None


@pytest.mark.parametrize(
    ("refused", "reason", "words"),
    [
        (request(prompt=()), RefusalReason.INVALID, "prompt is empty"),
        (request(choices=0), RefusalReason.INVALID, "choices must be from 1 to 3, not 0"),
        (request(choices=4), RefusalReason.INVALID, "choices must be from 1 to 3, not 4"),
        (request(tokens_max=0), RefusalReason.INVALID, "tokens_max"),
        (request(tokens_max=2, tokens_min=3), RefusalReason.INVALID, "tokens_min"),
        (request(prompt=(1, 1000)), RefusalReason.TOKEN_OUT_OF_RANGE, "vocabulary of 1000"),
        (request(prompt=(-1, 1)), RefusalReason.TOKEN_OUT_OF_RANGE, "vocabulary of 1000"),
        (request(prompt=(2**32,)), RefusalReason.TOKEN_OUT_OF_RANGE, "vocabulary of 1000"),
        (request(output=(1000,)), RefusalReason.TOKEN_OUT_OF_RANGE, "vocabulary of 1000"),
        (request(tokens_max=2, output=(7, 7)), RefusalReason.INVALID, "nothing left"),
        (request(prompt=62, tokens_max=9, output=(7, 7)), RefusalReason.INVALID, "nothing left"),
        (request(choices=2, output=(7,)), RefusalReason.INVALID, "exactly one choice"),
        (request(first_choice=-1), RefusalReason.INVALID, "first_choice"),
        (request(prompt=28, tokens_max=6, output=(7,)), RefusalReason.NEVER_FITS, "9 blocks"),
        (request(prompt=64), RefusalReason.CONTEXT_EXCEEDED, "prompt of 64 tokens"),
        (request(prompt=28, tokens_max=6), RefusalReason.NEVER_FITS, "9 blocks"),
        (request(prompt=33, tokens_max=1), RefusalReason.NEVER_FITS, "9 blocks"),
        (request(prompt=20, tokens_max=10, choices=2), RefusalReason.NEVER_FITS, "11 blocks"),
    ],
)
def test_what_cannot_run_is_refused_with_a_reason(
    refused: Request, reason: RefusalReason, words: str
) -> None:
    answer = refusal(refused, CONFIG)
    assert answer is not None
    assert answer.request_id == refused.request_id
    assert answer.reason is reason
    assert words in answer.message


@pytest.mark.parametrize(
    ("params", "word"),
    [
        (SamplingParams(4, tokens_min=-1), "tokens_min"),
        (SamplingParams(4, temperature=-0.1), "temperature"),
        (SamplingParams(4, temperature=math.nan), "temperature"),
        (SamplingParams(4, temperature=math.inf), "temperature"),
        (SamplingParams(4, top_k=0), "top_k"),
        (SamplingParams(4, top_p=0.0), "top_p"),
        (SamplingParams(4, top_p=1.1), "top_p"),
        (SamplingParams(4, min_p=-0.1), "min_p"),
        (SamplingParams(4, min_p=1.1), "min_p"),
        (SamplingParams(4, repetition_penalty=0.0), "repetition_penalty"),
        (SamplingParams(4, repetition_penalty=math.inf), "repetition_penalty"),
        (SamplingParams(4, presence_penalty=math.nan), "presence_penalty"),
        (SamplingParams(4, frequency_penalty=math.inf), "frequency_penalty"),
        (SamplingParams(4, logprobs=-1), "logprobs"),
        (SamplingParams(4, stop_token_ids=(1000,)), "stop_token_ids"),
    ],
)
def test_impossible_sampling_is_refused(params: SamplingParams, word: str) -> None:
    answer = refusal(replace(request(), sampling=params), CONFIG)
    assert answer is not None
    assert answer.reason is RefusalReason.INVALID
    assert answer.message.startswith(word)


def test_a_completion_is_clipped_to_the_context_not_refused() -> None:
    assert output_max(request(prompt=60, tokens_max=100), card(context=64)) == 4
    assert output_max(request(prompt=6, tokens_max=4), card(context=64)) == 4


@pytest.mark.parametrize(
    ("asked", "blocks"),
    [
        (request(prompt=8, tokens_max=1), 2),
        (request(prompt=8, tokens_max=2), 3),
        (request(prompt=8, tokens_max=5), 3),
        (request(prompt=8, tokens_max=6), 4),
        (request(prompt=8, tokens_max=2, choices=3), 2 + 3),
        (request(prompt=9, tokens_max=2, choices=3), 2 + 3),
        (request(prompt=9, tokens_max=1, choices=3), 3),  # nobody writes: all share the last one
        (request(prompt=62, tokens_max=100), 16),
    ],
)
def test_shared_prompt_blocks_count_once_and_the_rest_for_each_choice(
    asked: Request, blocks: int
) -> None:
    assert blocks_peak(asked, card(block_size=4, context=64)) == blocks


def test_a_grammar_is_refused_where_nobody_knows_how_tokens_are_written() -> None:
    asked = request(prompt=2, tokens_max=3)
    asked = replace(asked, sampling=replace(asked.sampling, grammar="start: /yes|no/"))
    answer = refusal(asked, CONFIG)
    assert answer is not None and answer.reason is RefusalReason.INVALID
    assert refusal(asked, replace(CONFIG, takes_grammars=True)) is None


def test_a_grammar_cannot_be_made_longer_than_it_is() -> None:
    asked = request(prompt=2, tokens_max=3, tokens_min=2)
    asked = replace(asked, sampling=replace(asked.sampling, grammar="start: /yes|no/"))
    answer = refusal(asked, replace(CONFIG, takes_grammars=True))
    assert answer is not None and "tokens_min" in answer.message
