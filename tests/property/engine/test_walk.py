"""Two hundred random walks against the shadow KV, and proof that they go everywhere."""

from __future__ import annotations

import pytest

from tests.property.engine.walk import walk

SEEDS = 200
BATCH = 20


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_no_walk_finds_a_wrong_token(first: int) -> None:
    worlds = [walk(seed) for seed in range(first, first + BATCH)]
    counters = [world.snapshot.counters for world in worlds]
    # A walk that avoids the hard cases would prove nothing.
    assert sum(world.steps for world in worlds) > 10 * BATCH
    assert sum(counter.preemptions for counter in counters) > 0
    assert sum(counter.recomputed_tokens for counter in counters) > 0
    assert sum(counter.hit_tokens for counter in counters) > 0
    assert sum(counter.requests_finished for counter in counters) > BATCH
