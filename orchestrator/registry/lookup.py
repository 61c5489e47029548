"""Longest held prefix per slot from few of the chain's bitmaps.

A replica evicts leaf first, so what it holds of a chain is a prefix: the
answer per slot is one boundary. The first question fetches block 0 and the
last block of every run of 16; it tells in which runs the boundaries lie. The
second fetches just those runs. A chain of 250 blocks costs about 32 bitmaps
instead of 250, and a cold prompt is known after the first question. Up to the
length at which a second question costs more than it saves, the first one
fetches everything.

Bitmaps are Python ints with bit `slot` set; `masks` maps an index in the
chain, which is not empty, to the bitmap fetched for it. While a replica's
changes are half applied its blocks may have a hole; the answer may then reach
beyond the hole.
"""

from __future__ import annotations

from collections.abc import Mapping

# 16: a 250-block chain needs 17 + 15 bitmaps, near the minimum of 2 * sqrt(250).
RUN_BLOCKS = 16
# A question costs its asker as much as about 100 bitmaps; measured in tests/benchmarks/LOG.md.
WHOLE_BLOCKS = 96


def probe_indices(length: int) -> list[int]:
    """What to fetch first: all of a short chain, else block 0 and the end of each run."""
    if length <= WHOLE_BLOCKS:
        return list(range(length))
    return [0, *range(RUN_BLOCKS - 1, length, RUN_BLOCKS)]


def boundary_indices(length: int, masks: Mapping[int, int], live: int) -> list[int]:
    """What to fetch next: the blocks between two probes where a live slot's prefix ends."""
    indices: list[int] = []
    held = live
    probes = sorted(masks)
    for probe, following in zip(probes, [*probes[1:], length], strict=True):
        held &= masks[probe]
        if held & ~masks.get(following, 0):
            indices.extend(range(probe + 1, following))
    return indices


def leading_blocks(length: int, masks: Mapping[int, int], live: int) -> dict[int, int]:
    """Blocks of the chain that each live slot holds from its start; absent means none."""
    blocks: dict[int, int] = {}
    held = live
    for index in sorted(masks):
        lost = held & ~masks[index]
        held ^= lost
        if index:
            blocks.update((slot, index) for slot in slots_in(lost))
    blocks.update((slot, length) for slot in slots_in(held))
    return blocks


def slots_in(mask: int) -> list[int]:
    """The slots whose bit is set, lowest first."""
    slots = []
    while mask:
        lowest = mask & -mask
        slots.append(lowest.bit_length() - 1)
        mask ^= lowest
    return slots
