"""Two hundred random walks of two engines against the shadow KV, which go everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import pytest

from protos.hashing import BlockHash, block_hash
from replicas.engine import sequence
from tests.property.engine.shadow import World
from tests.property.engine.walk import COPIES, CROWDED, walk

SEEDS = 200
BATCH = 50


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_no_walk_finds_a_wrong_token(first: int) -> None:
    fleets = [walk(seed) for seed in range(first, first + BATCH)]
    worlds = [world for fleet in fleets for world in fleet.worlds]
    counters = [world.snapshot.counters for world in worlds]
    # A walk that avoids the hard cases would prove nothing.
    assert sum(world.steps for world in worlds) > 10 * BATCH
    assert sum(world.repeated for world in worlds) > 0
    assert sum(counter.preemptions for counter in counters) > 0
    assert sum(counter.recomputed_tokens for counter in counters) > 0
    assert sum(counter.hit_tokens for counter in counters) > 0
    accepted = sum(counter.accepted_tokens for counter in counters)
    assert accepted > BATCH // 2
    assert sum(counter.guessed_tokens for counter in counters) - accepted > BATCH // 4
    assert sum(world.resumed for world in worlds) > BATCH // 4
    assert sum(counter.requests_finished for counter in counters) > BATCH
    assert sum(fleet.moved for fleet in fleets) > BATCH // 5
    assert sum(fleet.kept for fleet in fleets) > 0
    assert sum(fleet.warmed for fleet in fleets) > 0
    assert sum(world.passed_by for world in worlds) > BATCH
    assert sum(world.overdue for world in worlds) > BATCH // 5


def test_no_walk_with_copies_finds_a_wrong_token() -> None:
    fleets = [walk(seed, likely=COPIES) for seed in range(BATCH)]
    counters = [world.snapshot.counters for fleet in fleets for world in fleet.worlds]
    assert sum(fleet.copied for fleet in fleets) > BATCH // 2
    assert sum(counter.copied_tokens for counter in counters) > BATCH
    assert sum(counter.preemptions for counter in counters) > 0


def test_no_crowded_walk_finds_a_wrong_token() -> None:
    fleets = [walk(seed, likely=CROWDED) for seed in range(BATCH)]
    counters = [world.snapshot.counters for fleet in fleets for world in fleet.worlds]
    assert sum(counter.pauses for counter in counters) > BATCH // 2
    assert sum(counter.restored_tokens for counter in counters) > BATCH
    assert sum(counter.preemptions - counter.pauses for counter in counters) > BATCH // 2
    assert sum(counter.recomputed_tokens for counter in counters) > BATCH


class CollidingWorld(World):
    """A world in which a name says little: only the tokens and the tables can be held to."""

    def _check_inventory(self) -> None:
        assert len(self.engine.inventory()) <= 4
        self.engine.block_events()


def colliding_hash(parent: BlockHash, tokens: Sequence[int]) -> BlockHash:
    """A digest of two bits."""
    return BlockHash(bytes([block_hash(parent, tokens)[0] % 4]))


def colliding_hashes(
    tokens: Sequence[int], *, block_size: int, root: BlockHash
) -> tuple[BlockHash, ...]:
    """A chain of them."""
    blocks = range(0, len(tokens) - block_size + 1, block_size)
    chain = accumulate(
        (tokens[start : start + block_size] for start in blocks), colliding_hash, initial=root
    )
    return tuple(chain)[1:]


def test_colliding_names_cost_hits_and_never_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "block_hash", colliding_hash)
    monkeypatch.setattr(sequence, "block_hashes", colliding_hashes)
    monkeypatch.setattr(World, "_check_hits", lambda self, request, hit_tokens: None)
    fleets = [walk(seed, make=CollidingWorld) for seed in range(60)]
    fleets += [walk(seed, make=CollidingWorld, likely=COPIES) for seed in range(30)]
    worlds = [world for fleet in fleets for world in fleet.worlds]
    assert sum(world.snapshot.counters.hit_tokens for world in worlds) > 0
    assert sum(fleet.moved for fleet in fleets) > 10
    assert sum(fleet.copied for fleet in fleets) > 0
