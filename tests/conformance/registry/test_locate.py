"""Longest held prefix per replica, for chains around and beyond the probing distance."""

from __future__ import annotations

import pytest

from protos.registry import BlockBatch, PrefixRegistry
from tests.conformance.registry.world import SLOTS_MAX, chain, record


@pytest.mark.parametrize("length", [0, 1, 2, 15, 16, 17, 31, 32, 33, 37, 48, 95, 96, 97, 250])
async def test_partial_holders_are_found_exactly(registry: PrefixRegistry, length: int) -> None:
    prompt = chain("prompt", length)
    shares = sorted({0, 1, 2, 15, 16, 17, 31, 32, 33, length // 2, length - 1, length})
    expected = {}
    for share in [share for share in shares if 0 <= share <= length][-SLOTS_MAX:]:
        membership = await registry.join(record(f"holds {share}"))
        assert await registry.publish(membership, BlockBatch(0, prompt[:share]))
        if share:
            expected[f"holds {share}"] = share
    assert await registry.locate(prompt) == expected


async def test_every_boundary_of_a_chain_is_found_exactly(registry: PrefixRegistry) -> None:
    prompt = chain("prompt", 37)
    membership = await registry.join(record("a"))
    for number, block in enumerate(prompt):
        assert await registry.publish(membership, BlockBatch(number, (block,)))
        assert await registry.locate(prompt) == {"a": number + 1}


async def test_a_prompt_longer_than_what_is_held_is_found_up_to_there(
    registry: PrefixRegistry,
) -> None:
    prompt = chain("prompt", 250)
    membership = await registry.join(record("a"))
    assert await registry.publish(membership, BlockBatch(0, prompt[:100]))
    assert await registry.locate(prompt) == {"a": 100}
    assert await registry.locate(prompt[:40]) == {"a": 40}
