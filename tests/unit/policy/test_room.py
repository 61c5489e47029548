"""The default length is the longest one that the engine takes, and never longer."""

from __future__ import annotations

from itertools import product

import pytest

from orchestrator.policy.room import tokens_room, tokens_room_in
from protos.messages import ModelCard, Request, RequestId, SamplingParams
from replicas.engine.refusals import blocks_peak

CONTEXT = 10_000  # more than any pool here


def peak(prompt_tokens: int, choices: int, block_size: int, tokens: int) -> int:
    card = ModelCard("m", "r", "float32", block_size, CONTEXT, vocab_size=2)
    request = Request(
        RequestId("r"), (1,) * prompt_tokens, SamplingParams(tokens_max=tokens), choices
    )
    return blocks_peak(request, card)


@pytest.mark.parametrize("block_size", [1, 4, 16])
@pytest.mark.parametrize("pool", [1, 2, 7, 40])
def test_one_token_more_is_what_the_engine_refuses(block_size: int, pool: int) -> None:
    for prompt, choices in product(range(1, pool * block_size + 1), (1, 2, 3, 16)):
        room = tokens_room_in(pool, prompt_tokens=prompt, choices=choices, block_size=block_size)
        assert peak(prompt, choices, block_size, room) <= pool, (prompt, choices)
        assert peak(prompt, choices, block_size, room + 1) > pool, (prompt, choices)


def test_it_fits_wherever_the_prompt_does() -> None:
    def room(*pools: int) -> int | None:
        return tokens_room(pools, prompt_tokens=160, choices=1, block_size=16)

    assert room(12, 20) == room(20, 12) == 33
    assert room(9, 20) == 161  # the small one cannot hold the prompt, and is never chosen
    assert room(9) is None
    assert room() is None
