"""Attention over blocks as two Triton kernels: visits of splits, and their merging.

A split is a fixed number of slots, counted from the start of a sequence. For
each split a program attends from scratch, tile by tile, with a running maximum
(online softmax, Milakov and Gimelshein, 2018), and what it finds is merged
with the splits before by log-sum-exp. A program either takes all splits of its
tokens and merges as it goes (WHOLE), or takes one and leaves maximum, sum and
weighted values for `merge_kernel`. Both do the same arithmetic in the same
order on tiles of the same shape. So a token's bits depend neither on the rest
of the step, nor on the chunk it came in, nor on who visits a split with it, as
far as the matrix unit treats the rows of a product alike.

A tile of keys is as wide as suits the device; each of its slots looks its
block up, so blocks may be of any size. The query heads that share a key-value
head are rows of one product, as are all tokens of a visit.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def attend_kernel(
    queries,  # [tokens, heads, HEAD_DIM], tokens `query_stride` apart
    query_stride,
    key_pool,  # [blocks, BLOCK_SIZE, KV_HEADS, HEAD_DIM], of one layer
    value_pool,
    positions,  # [tokens]
    tables,  # [rows, table_stride]
    table_stride,
    visits,  # [programs, 5]: tokens begin to stop, table, splits first to last
    parts,  # [tokens]: where the splits of a token begin in the three below, unless WHOLE
    part_values,  # [parts, heads, HEAD_DIM]
    part_tops,  # [parts, heads]
    part_sums,
    out,  # [tokens, heads, HEAD_DIM], if WHOLE
    scale,  # of scores, in powers of two
    GROUP: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    WIDTH: tl.constexpr,  # of a head in registers: HEAD_DIM, up to a power of two
    BLOCK_SIZE: tl.constexpr,
    ROWS: tl.constexpr,  # of a product
    TILE: tl.constexpr,
    SPLIT: tl.constexpr,
    FACTOR: tl.constexpr,  # type of what is multiplied
    WHOLE: tl.constexpr,
):
    visit = visits + 5 * tl.program_id(0)
    begin, stop, row = tl.load(visit), tl.load(visit + 1), tl.load(visit + 2)
    first, last = tl.load(visit + 3), tl.load(visit + 4)
    features = tl.arange(0, WIDTH)
    tokens = begin + tl.arange(0, ROWS) // GROUP
    heads = tl.program_id(1) * GROUP + tl.arange(0, ROWS) % GROUP
    inside = tokens < stop
    filled = inside[:, None] & (features < HEAD_DIM)[None, :]
    position = tl.load(positions + tokens, mask=inside, other=0)
    place = queries + tokens[:, None] * query_stride + heads[:, None] * HEAD_DIM + features[None, :]
    query = tl.load(place, mask=filled, other=0.0).to(FACTOR)
    table = tables + row * table_stride
    seen = tl.max(position, 0) + 1
    top, total, values = empty_state(ROWS, WIDTH)
    for split in range(first, last):
        begins, ends = split * SPLIT, tl.minimum((split + 1) * SPLIT, seen)
        found_top, found_total, found = attend_split(
            *(query, position, table, key_pool, value_pool, begins, ends, scale),
            *(KV_HEADS, HEAD_DIM, WIDTH, BLOCK_SIZE, ROWS, TILE, FACTOR),
        )
        top, total, values = merged(top, total, values, found_top, found_total, found)
    line = tokens * (KV_HEADS * GROUP) + heads
    if WHOLE:
        place = out + line[:, None] * HEAD_DIM + features[None, :]
        tl.store(place, (values / total[:, None]).to(out.dtype.element_ty), mask=filled)
    else:
        # A chunk's earlier tokens may end before the split; then they have no part for it.
        kept = inside & (position >= first * SPLIT)
        part = tl.load(parts + tokens, mask=kept, other=0) + first
        line = part * (KV_HEADS * GROUP) + heads
        tl.store(part_tops + line, top, mask=kept)
        tl.store(part_sums + line, total, mask=kept)
        place = part_values + line[:, None] * HEAD_DIM + features[None, :]
        tl.store(place, values, mask=filled & kept[:, None])


@triton.jit
def attend_split(
    query,  # [ROWS, WIDTH]
    position,  # [ROWS]
    table,
    key_pool,
    value_pool,
    begin,  # slots, counted from the start of the sequence
    end,
    scale,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    FACTOR: tl.constexpr,
):
    features = tl.arange(0, WIDTH)
    filled = features < HEAD_DIM
    top, total, values = empty_state(ROWS, WIDTH)
    for start in range(begin, end, TILE):
        slots = start + tl.arange(0, TILE)
        needed = slots < end
        block = tl.load(table + slots // BLOCK_SIZE, mask=needed, other=0).to(tl.int64)
        slot = block * BLOCK_SIZE + slots % BLOCK_SIZE
        place = (slot * KV_HEADS + tl.program_id(1)) * HEAD_DIM
        read = needed[None, :] & filled[:, None]
        key = tl.load(key_pool + place[None, :] + features[:, None], mask=read, other=0.0)
        scores = tl.dot(query, key.to(FACTOR), input_precision="ieee") * scale
        seen = (slots[None, :] <= position[:, None]) & needed[None, :]
        scores = tl.where(seen, scores, float("-inf"))
        raised = tl.maximum(top, tl.max(scores, 1))
        # A token that sees nothing yet: nothing minus nothing would be no number.
        level = tl.where(raised == float("-inf"), 0.0, raised)
        fade, weights = tl.exp2(top - level), tl.exp2(scores - level[:, None])
        read = needed[:, None] & filled[None, :]
        value = tl.load(value_pool + place[:, None] + features[None, :], mask=read, other=0.0)
        factor = weights.to(value.dtype).to(FACTOR)
        total = total * fade + tl.sum(weights, 1)
        values = values * fade[:, None]
        values += tl.dot(factor, value.to(FACTOR), input_precision="ieee")
        top = raised
    return top, total, values


@triton.jit
def empty_state(ROWS: tl.constexpr, WIDTH: tl.constexpr):
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.full((ROWS,), 0.0, tl.float32)
    return top, total, tl.full((ROWS, WIDTH), 0.0, tl.float32)


@triton.jit
def merged(top, total, values, found_top, found_total, found):
    raised = tl.maximum(top, found_top)
    level = tl.where(raised == float("-inf"), 0.0, raised)
    fade, share = tl.exp2(top - level), tl.exp2(found_top - level)
    values = values * fade[:, None] + found * share[:, None]
    return raised, total * fade + found_total * share, values


@triton.jit
def merge_kernel(
    part_values,
    part_tops,
    part_sums,
    parts,
    positions,
    split_tokens,  # the tokens whose splits were left to this kernel
    out,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    SPLIT: tl.constexpr,
):
    token = tl.load(split_tokens + tl.program_id(0))
    head = tl.program_id(1)
    features = tl.arange(0, WIDTH)
    filled = features < HEAD_DIM
    line = tl.load(parts + token) * HEADS + head
    top, total = tl.load(part_tops + line), tl.load(part_sums + line)
    values = tl.load(part_values + line * HEAD_DIM + features, mask=filled, other=0.0)
    for _ in range(tl.load(positions + token) // SPLIT):
        line += HEADS
        split_top = tl.load(part_tops + line)
        raised = tl.maximum(top, split_top)
        fade, share = tl.exp2(top - raised), tl.exp2(split_top - raised)
        total = total * fade + tl.load(part_sums + line) * share
        found = tl.load(part_values + line * HEAD_DIM + features, mask=filled, other=0.0)
        values = values * fade + found * share
        top = raised
    tl.store(
        out + (token * HEADS + head) * HEAD_DIM + features,
        (values / total).to(out.dtype.element_ty),
        mask=filled,
    )
