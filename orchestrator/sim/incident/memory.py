"""What a memory looks like at one moment, whatever its layout.

Four numbers of token slots and a map. *Held* slots belong to somebody; of
these, *written* ones hold KV, and the difference is internal fragmentation:
reserved and empty. The *largest hole* is the most that one new sequence could
be given; what is free beyond it is external fragmentation.

Theory of the map: the address space in cells, each a letter for what fills
most of it, so that holes and what lies between them can be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

FREE, SHARED = ".", "#"
CELLS = 128  # a map's resolution


@dataclass(frozen=True, slots=True)
class MemoryState:
    """One look at a memory. Slots that are cached and evictable count as free."""

    slots_total: int
    slots_free: int
    slots_written: int
    largest_hole: int
    sequences: int  # that hold any of it
    cells: str

    @property
    def free(self) -> float:
        """Share of the memory that is free."""
        return self.slots_free / self.slots_total

    @property
    def internal_fragmentation(self) -> float:
        """Share of the memory that is held and empty."""
        return (self.slots_total - self.slots_free - self.slots_written) / self.slots_total

    @property
    def external_fragmentation(self) -> float:
        """Share of the free slots that are outside the largest hole."""
        return 1 - self.largest_hole / self.slots_free if self.slots_free else 0.0


@dataclass(frozen=True, slots=True)
class Area:
    """Slots `start` to `stop - 1`, filled by one kind."""

    start: int
    stop: int
    kind: str


def draw(areas: Iterable[Area], slots_total: int) -> str:
    """The map of a memory in which these areas are taken."""
    width = slots_total / CELLS
    fills: list[dict[str, float]] = [{FREE: width} for _ in range(CELLS)]
    for area in areas:
        for cell in range(int(area.start / width), min(CELLS - 1, int(area.stop / width)) + 1):
            slots = min(area.stop, (cell + 1) * width) - max(area.start, cell * width)
            if slots > 0:
                fills[cell][FREE] -= slots
                fills[cell][area.kind] = fills[cell].get(area.kind, 0.0) + slots
    return "".join(max(sorted(fill), key=lambda kind: fill[kind]) for fill in fills)
