"""Made-up tokens are the same for the same thing and differ for different things."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.workload.tokens import VOCAB_SIZE, block_tokens, completion
from protos.messages import Request, RequestId, SamplingParams

REQUEST = Request(RequestId("r"), (1, 2, 3), SamplingParams(tokens_max=8, seed=5))


@pytest.mark.parametrize("size", [3, 16, 512, 4096])
def test_a_block_has_its_size_and_stays_in_the_vocabulary(size: int) -> None:
    tokens = block_tokens(123_456_789, size)
    assert len(tokens) == size
    assert all(0 <= token < VOCAB_SIZE for token in tokens)


def test_no_two_ids_have_one_block() -> None:
    ids = [*range(2000), *(number << 15 for number in range(1, 500)), 1 << 40, (1 << 40) + 1]
    assert len({block_tokens(block_id, 4) for block_id in ids}) == len(ids)


def test_a_completion_is_a_function_of_the_request() -> None:
    assert completion(REQUEST, 8) == completion(replace(REQUEST, request_id=RequestId("s")), 8)
    assert completion(REQUEST, 8)[:3] == completion(REQUEST, 3)


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, sampling=replace(REQUEST.sampling, seed=6)),
        replace(REQUEST, prompt=(1, 2, 4)),
        replace(REQUEST, prompt=(2, 3)),
    ],
    ids=["seed", "last token", "position"],
)
def test_another_request_gets_another_completion(other: Request) -> None:
    assert completion(other, 8) != completion(REQUEST, 8)
