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
from itertools import groupby

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
    """A step as tensors. `last` follows the order of the plan's rows that are sampled."""

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    tiles: tuple[Tile, ...]
    last: Tensor


@dataclass(frozen=True, slots=True)
class _Span:
    """Tokens `first` to `stop` of one row."""

    row: int
    first: int
    stop: int


def build_batch(
    rows: Sequence[Row], *, block_size: int, group: int, device: torch.device, dtype: torch.dtype
) -> StepBatch:
    """The step's tensors on `device`; masks are of `dtype`."""
    for row in rows:
        covered = len(row.block_table) * block_size
        assert row.start + len(row.tokens) <= covered, "a row writes past its block table"
    tables = [np.array(row.block_table, dtype=np.int64) for row in rows]
    tokens: list[int] = []
    positions: list[Ids] = []
    slots: list[Ids] = []
    tiles: list[Tile] = []
    last = [0] * len(rows)
    for spans in _tiled(rows, block_size):
        begin = len(tokens)
        tile_positions = []
        for span in spans:
            row = rows[span.row]
            tokens.extend(row.tokens[span.first : span.stop])
            last[span.row] = len(tokens) - 1
            at = np.arange(row.start + span.first, row.start + span.stop)
            tile_positions.append(at)
            slots.append(tables[span.row][at // block_size] * block_size + at % block_size)
        positions.extend(tile_positions)
        blocks = _gathered([tables[span.row] for span in spans], tile_positions, block_size)
        mask = _mask(np.stack(tile_positions), blocks.shape[1] * block_size, group)
        tiles.append(
            Tile(
                tokens=slice(begin, len(tokens)),
                rows=len(spans),
                blocks=torch.from_numpy(blocks.reshape(-1)).to(device),
                mask=mask.to(device=device, dtype=dtype),
            )
        )
    return StepBatch(
        tokens=torch.tensor(tokens, device=device),
        positions=torch.from_numpy(np.concatenate(positions)).to(device),
        slots=torch.from_numpy(np.concatenate(slots)).to(device),
        tiles=tuple(tiles),
        last=torch.tensor(
            [last[n] for n, row in enumerate(rows) if row.samples], dtype=torch.int64, device=device
        ),
    )


def _tiled(rows: Sequence[Row], block_size: int) -> Iterator[list[_Span]]:
    decodes = [n for n, row in enumerate(rows) if len(row.tokens) == 1]

    def size_class(n: int) -> int:
        return (rows[n].start // block_size).bit_length()

    for bits, alike in groupby(sorted(decodes, key=size_class), key=size_class):
        members = [_Span(n, 0, 1) for n in alike]
        most = max(1, DECODE_TILE_SLOTS // (block_size << bits))
        for first in range(0, len(members), most):
            yield members[first : first + most]
    for n, row in enumerate(rows):
        if len(row.tokens) > 1:
            for first in range(0, len(row.tokens), PREFILL_TILE_QUERIES):
                yield [_Span(n, first, min(first + PREFILL_TILE_QUERIES, len(row.tokens)))]


def _gathered(tables: Sequence[Ids], positions: Sequence[Ids], block_size: int) -> Ids:
    """[rows, blocks]: each row's blocks up to its last query, padded to the longest row."""
    needed = [int(at[-1]) // block_size + 1 for at in positions]
    blocks = np.zeros((len(tables), max(needed)), dtype=np.int64)
    for n, (table, count) in enumerate(zip(tables, needed, strict=True)):
        blocks[n, :count] = table[:count]
    return blocks


def _mask(positions: Ids, slots: int, group: int) -> Tensor:
    """Minus infinity where a slot lies after the query; a group of heads shares a query's line."""
    hidden = torch.from_numpy(np.arange(slots) > positions[:, :, None])
    rows, queries, _ = hidden.shape
    mask = torch.zeros(hidden.shape).masked_fill_(hidden, -torch.inf)
    shared = mask[:, None, :, None, :].expand(rows, 1, queries, group, slots)
    return shared.reshape(rows, 1, queries * group, slots)
