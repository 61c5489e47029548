"""A step as visits: which tokens look at which stretch of which block table.

Slots are counted in tiles of a size that the kernels choose. A row's tokens
visit the tiles of its block table, from the first to the one of its last
token; each token sees the slots up to its own position. Decodes whose tables
begin with the same blocks visit the tiles in these together, so that shared
keys and values are fetched once for all of them, and go on alone.

Tokens lie row by row, sharing rows side by side. Knows nothing of tensors or
devices: both the C++ and the Triton kernels lay a step out by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from replicas.engine.plan import Row

# Measured on a CPU with decodes of 2 to 32 rows (replicas/bench/cascade.py): from here on sharing
# gains a tenth of attention over reading the same blocks row by row; two rows gain nothing.
SHARING_ROWS = 4
SHARING_TOKENS = 256

Ids = npt.NDArray[np.int64]
Tables = npt.NDArray[np.int32]


class Visit(NamedTuple):
    """Tokens `begin` to `stop` of the step look at the tiles `first` to `last` of a table, the
    latter excluded."""

    begin: int
    stop: int
    table: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Visits:
    """A step laid out. `last` says where logits are asked for, as `ModelStep` has it."""

    tokens: Ids
    positions: Ids
    slots: Ids
    last: Ids
    tables: Tables  # [rows, blocks]: padded with block 0
    owners: Ids  # of tokens: their line of `tables`
    visits: tuple[Visit, ...]


def lay_out_visits(
    rows: Sequence[Row], *, block_size: int, tile: int, sharing_rows: int = SHARING_ROWS
) -> Visits:
    """The rows as visits; from so many decodes on, those with a common beginning share."""
    groups = list(_groups(rows, SHARING_TOKENS // block_size, sharing_rows))
    order = [n for group in groups for n in group]
    lined_up = [rows[n] for n in order]
    counts = np.array([len(row.tokens) for row in lined_up])
    stops = np.cumsum(counts)
    starts = np.array([row.start for row in lined_up])
    tables = _tables(lined_up, starts + counts, block_size)
    owners = np.repeat(np.arange(len(rows)), counts)
    positions = np.arange(stops[-1]) + np.repeat(starts - (stops - counts), counts)
    blocks = tables[owners, positions // block_size]
    stop_of = dict(zip(order, stops.tolist(), strict=True))
    last = [stop_of[n] - 1 - left for n, row in enumerate(rows) for left in row.asked]
    tiles = -(-(starts + counts) // tile)
    sizes = [len(group) for group in groups]
    visits = _visits(sizes, stops, tiles, tables, tile=tile, block_size=block_size)
    return Visits(
        tokens=np.array([token for row in lined_up for token in row.tokens], dtype=np.int64),
        positions=positions,
        slots=blocks.astype(np.int64) * block_size + positions % block_size,
        last=np.array(last, dtype=np.int64),
        tables=tables,
        owners=owners,
        visits=tuple(visits),
    )


def _groups(rows: Sequence[Row], blocks: int, sharing_rows: int) -> Iterator[list[int]]:
    """Every row once: decodes that begin with the same blocks together, if they are enough."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for n, row in enumerate(rows):
        if len(row.tokens) == 1 + row.guesses and len(row.block_table) > blocks:
            alike.setdefault(row.block_table[:blocks], []).append(n)
    sharing = [group for group in alike.values() if len(group) >= sharing_rows]
    yield from sharing
    shared = {n for group in sharing for n in group}
    yield from ([n] for n in range(len(rows)) if n not in shared)


def _visits(
    sizes: Sequence[int], stops: Ids, tiles: Ids, tables: Tables, *, tile: int, block_size: int
) -> Iterator[Visit]:
    """The visits of each group: shared tiles together, then each row the rest of its own."""
    first = 0
    for size in sizes:
        rows = range(first, first + size)
        begins = [int(stops[n - 1]) if n else 0 for n in rows]
        shared = 0
        if size > 1:
            group = tables[first : first + size]
            differs = np.flatnonzero((group != group[0]).any(axis=0))
            blocks = int(differs[0]) if differs.size else group.shape[1]
            shared = min(blocks * block_size // tile, int(tiles[first : first + size].min()))
            if shared:
                yield Visit(begins[0], int(stops[rows[-1]]), first, 0, shared)
        yield from (
            Visit(begin, int(stops[n]), n, shared, int(tiles[n]))
            for begin, n in zip(begins, rows, strict=True)
            if shared < tiles[n]
        )
        first += size


def _tables(rows: Sequence[Row], lengths: Ids, block_size: int) -> Tables:
    """The block tables as far as they are needed; beyond lie blocks for tokens to come."""
    needed = -(-lengths // block_size)
    tables = np.zeros((len(rows), int(needed.max())), dtype=np.int32)
    for line, row, count in zip(tables, rows, needed, strict=True):
        assert count <= len(row.block_table), "a row writes past its block table"
        line[:count] = row.block_table[:count]
    return tables
