"""Lay a step out for the decoder: one flat run of tokens, cut into tiles of attention.

A tile is what attends in one call: either several rows with one token each
(decodes), or a stretch of one row's prefill. Its keys are gathered in whole
blocks, as many as its longest row needs, and a mask hides what a query may not
see: later positions, unused slots, other rows' padding.

Decodes share a tile with rows of similar length only, so that padding at most
doubles what is gathered, and a tile gathers little enough to stay in the cache.
Tokens lie in tile order; where each row's last token went is in `last`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from replicas.engine.plan import Row

# Measured on CPUs with a prompt of 600 and with 8 to 32 decodes at 700 tokens: shorter
# stretches waste calls, longer ones compute what the causal mask then hides.
PREFILL_TILE_QUERIES = 128
DECODE_TILE_SLOTS = 4096

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tile:
    """`rows` sequences with equally many queries each, over `tokens` of the step."""

    tokens: slice
    rows: int
    blocks: Tensor  # [rows * blocks per row]: what to gather, padded with block 0
    mask: Tensor  # [rows, 1, queries * group, slots]: added to the scores


@dataclass(frozen=True, slots=True)
class StepBatch:
    """A step as tensors. `last` says where logits are asked for, as `ModelStep` has it."""

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    tiles: tuple[Tile, ...]
    last: Tensor


@dataclass(frozen=True, slots=True)
class _Span:
    """Neighbouring tokens of one row, with their positions and the row's block table."""

    row: int
    tokens: tuple[int, ...]
    positions: Ids
    table: Ids


def build_batch(
    rows: Sequence[Row], *, block_size: int, group: int, device: torch.device, dtype: torch.dtype
) -> StepBatch:
    """The step's tensors on `device`; masks are of `dtype`."""
    for row in rows:
        covered = len(row.block_table) * block_size
        assert row.start + len(row.tokens) <= covered, "a row writes past its block table"
    planned = list(_plan_tiles(rows, block_size))
    spans = [span for members in planned for span in members]
    stops = list(accumulate(len(span.tokens) for span in spans))
    # Spans of a row come in order, so the last one counts.
    last = {span.row: stop - 1 for span, stop in zip(spans, stops, strict=True)}
    tiles = []
    begin = 0
    for members in planned:
        tiles.append(_tile(members, begin, block_size, group, device, dtype))
        begin = tiles[-1].tokens.stop
    tokens = [token for span in spans for token in span.tokens]
    sampled = [last[n] - left for n, row in enumerate(rows) for left in row.asked]
    return StepBatch(
        tokens=torch.tensor(tokens, device=device),
        positions=torch.from_numpy(np.concatenate([span.positions for span in spans])).to(device),
        slots=torch.from_numpy(np.concatenate([_slots(span, block_size) for span in spans])).to(
            device
        ),
        tiles=tuple(tiles),
        last=torch.tensor(sampled, dtype=torch.int64, device=device),
    )


def _plan_tiles(rows: Sequence[Row], block_size: int) -> Iterator[list[_Span]]:
    """What to attend together: decodes of one size class, or a stretch of one prefill."""
    decodes = [n for n, row in enumerate(rows) if len(row.tokens) == 1]

    def size_class(n: int) -> int:
        return (rows[n].start // block_size).bit_length()

    for bits, alike in groupby(sorted(decodes, key=size_class), key=size_class):
        members = [_span(rows, n, 0, 1) for n in alike]
        most = max(1, DECODE_TILE_SLOTS // (block_size << bits))
        for first in range(0, len(members), most):
            yield members[first : first + most]
    for n, row in enumerate(rows):
        if len(row.tokens) > 1:
            for first in range(0, len(row.tokens), PREFILL_TILE_QUERIES):
                yield [_span(rows, n, first, first + PREFILL_TILE_QUERIES)]


def _span(rows: Sequence[Row], n: int, first: int, stop: int) -> _Span:
    row = rows[n]
    tokens = row.tokens[first:stop]
    begin = row.start + first
    positions = np.arange(begin, begin + len(tokens), dtype=np.int64)
    return _Span(n, tokens, positions, np.array(row.block_table, dtype=np.int64))


def _slots(span: _Span, block_size: int) -> Ids:
    """Where the span's keys and values go."""
    return span.table[span.positions // block_size] * block_size + span.positions % block_size


def _tile(
    members: Sequence[_Span],
    begin: int,
    block_size: int,
    group: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Tile:
    positions = np.stack([span.positions for span in members])
    needed = positions[:, -1] // block_size + 1
    blocks = np.zeros((len(members), int(needed.max())), dtype=np.int64)
    for line, span, count in zip(blocks, members, needed, strict=True):
        line[:count] = span.table[:count]
    mask = _mask(positions, blocks.shape[1] * block_size, group)
    return Tile(
        tokens=slice(begin, begin + positions.size),
        rows=len(members),
        blocks=torch.from_numpy(blocks.reshape(-1)).to(device),
        mask=mask.to(device=device, dtype=dtype),
    )


def _mask(positions: Ids, slots: int, group: int) -> Tensor:
    """Minus infinity where a slot lies after the query; a group of heads shares a query's line."""
    hidden = torch.from_numpy(np.arange(slots) > positions[:, :, None])
    rows, queries, _ = hidden.shape
    mask = torch.zeros(hidden.shape).masked_fill_(hidden, -torch.inf)
    shared = mask[:, None, :, None, :].expand(rows, 1, queries, group, slots)
    return shared.reshape(rows, 1, queries * group, slots)
