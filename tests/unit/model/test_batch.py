"""The flat layout of a step: every token once, every slot right, nothing visible too early."""

from __future__ import annotations

import random

import pytest
import torch

from protos.messages import SamplingParams
from replicas.engine.plan import BlockId, Row, Sample
from replicas.model.batch import DECODE_TILE_SLOTS, PREFILL_TILE_QUERIES, StepBatch, build_batch

BLOCK = 4
SAMPLE = (Sample(SamplingParams(tokens_max=1), 0, (1,), ()),)


def row(start: int, count: int, *, first_block: int = 0, sampled: bool = True) -> Row:
    blocks = -(-(start + count) // BLOCK)
    table = tuple(BlockId(first_block + n) for n in reversed(range(blocks)))
    tokens = tuple(1000 * first_block + start + n for n in range(count))
    return Row(tokens, start, table, SAMPLE if sampled else ())


def batch_of(rows: list[Row], group: int = 1) -> StepBatch:
    return build_batch(
        rows, block_size=BLOCK, group=group, device=torch.device("cpu"), dtype=torch.float32
    )


def random_rows(seed: int, count: int) -> list[Row]:
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        tokens = rng.choice([1, 1, 1, 2, 7, PREFILL_TILE_QUERIES, PREFILL_TILE_QUERIES + 3])
        rows.append(row(rng.choice([0, 1, 5, 300]), tokens, first_block=200 * n))
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_tiles_cover_every_token_once_and_in_order(seed: int) -> None:
    rows = random_rows(seed, 12)
    batch = batch_of(rows)
    assert sorted(batch.tokens.tolist()) == sorted(t for each in rows for t in each.tokens)
    stops = [0, *(tile.tokens.stop for tile in batch.tiles)]
    assert [tile.tokens.start for tile in batch.tiles] == stops[:-1]
    assert stops[-1] == len(batch.tokens)


@pytest.mark.parametrize("seed", range(5))
def test_each_token_has_its_own_position_slot_and_view(seed: int) -> None:
    """Walk every query of every tile: it sees its own row's slots up to itself, no other."""
    rows = random_rows(seed, 12)
    batch = batch_of(rows)
    owner = {token: each for each in rows for token in each.tokens}
    for tile in batch.tiles:
        queries = (tile.tokens.stop - tile.tokens.start) // tile.rows
        gathered = tile.blocks.view(tile.rows, -1)
        for line in range(tile.rows * queries):
            at = tile.tokens.start + line
            mine = owner[int(batch.tokens[at])]
            position = mine.start + mine.tokens.index(int(batch.tokens[at]))
            assert batch.positions[at] == position
            block, offset = divmod(position, BLOCK)
            assert batch.slots[at] == mine.block_table[block] * BLOCK + offset
            visible = (tile.mask[line // queries, 0, line % queries] == 0).nonzero().flatten()
            slots = gathered[line // queries][visible // BLOCK] * BLOCK + visible % BLOCK
            wanted = [mine.block_table[p // BLOCK] * BLOCK + p % BLOCK for p in range(position + 1)]
            assert slots.tolist() == wanted


def test_last_tokens_follow_the_plan_and_skip_rows_without_samples() -> None:
    rows = [
        row(0, 5, first_block=1),
        row(9, 1, first_block=10),
        row(0, 3, first_block=20, sampled=False),
        row(700, 1, first_block=300),
        row(4, 2, first_block=40),
    ]
    batch = batch_of(rows)
    assert batch.tokens[batch.last].tolist() == [r.tokens[-1] for r in rows if r.samples]


def test_a_group_of_heads_shares_a_querys_mask() -> None:
    plain, grouped = batch_of([row(2, 3)]).tiles[0].mask, batch_of([row(2, 3)], 3).tiles[0].mask
    assert torch.equal(grouped, plain.repeat_interleave(3, dim=2))


def test_a_long_row_does_not_pad_short_ones_to_its_length() -> None:
    rows = [row(10, 1, first_block=10 * n) for n in range(20)] + [row(4000, 1, first_block=1000)]
    gathered = sum(tile.blocks.numel() for tile in batch_of(rows).tiles)
    needed = sum(len(each.block_table) for each in rows)
    assert gathered <= 2 * needed


def test_decodes_of_like_length_share_a_tile() -> None:
    rows = [row(start, 1, first_block=10 * n) for n, start in enumerate(range(16, 31))]
    assert [tile.rows for tile in batch_of(rows).tiles] == [15]


def test_a_decode_tile_gathers_a_bounded_number_of_slots() -> None:
    rows = [row(700, 1, first_block=200 * n) for n in range(40)]
    tiles = batch_of(rows).tiles
    assert len(tiles) > 1
    assert all(tile.blocks.numel() * BLOCK <= DECODE_TILE_SLOTS for tile in tiles)


def test_blocks_past_the_last_token_are_not_gathered() -> None:
    """A table may already hold blocks for tokens to come."""
    roomy = Row((1, 2), 0, tuple(BlockId(n) for n in range(50)), SAMPLE)
    assert batch_of([roomy]).tiles[0].blocks.tolist() == [0]


def test_a_row_that_would_write_past_its_table_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="block table"):
        batch_of([Row((1, 2, 3), 3, (BlockId(0),), SAMPLE)])
