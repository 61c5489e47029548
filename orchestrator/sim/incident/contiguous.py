"""Contiguous memory: one address space of token slots, one run for each sequence.

This is what the incident's stack did, kept here as a baseline only. A run is
taken whole from the first hole that is long enough, never grows and never
moves; a freed run melts into the holes beside it. So free memory can be plenty
and yet of no use: what counts is the largest hole.

Invariants, all in `check`: runs and holes cover the space without overlap, and
no two holes touch.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """The slots `start` to `stop - 1`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many slots it has."""
        return self.stop - self.start


class ContiguousMemory:
    """Hands out runs, first fit. A run belongs to whoever got it until it is released."""

    def __init__(self, slots_total: int) -> None:
        self.slots_total = slots_total
        self._holes = [Run(0, slots_total)]  # in order of address
        self._runs: set[Run] = set()

    @property
    def slots_free(self) -> int:
        """Slots in no run, wherever they are."""
        return sum(hole.size for hole in self._holes)

    @property
    def largest_hole(self) -> int:
        """The longest run that can be had now."""
        return max((hole.size for hole in self._holes), default=0)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All that is taken, in order of address."""
        return tuple(sorted(self._runs))

    def allocate(self, slots: int) -> Run | None:
        """The beginning of the first hole that is long enough; None when there is none."""
        assert slots > 0, f"a run of {slots} slots"
        for index, hole in enumerate(self._holes):
            if hole.size >= slots:
                return self._take(index, Run(hole.start, hole.start + slots))
        return None

    def pin(self, run: Run) -> None:
        """Take these very slots, all of which must be in one hole."""
        for index, hole in enumerate(self._holes):
            if hole.start <= run.start and run.stop <= hole.stop:
                self._take(index, run)
                return
        raise AssertionError(f"{run} is not free")

    def release(self, run: Run) -> None:
        """Give a run back, whole and once."""
        assert run in self._runs, f"release of {run}, which nobody holds"
        self._runs.remove(run)
        before = next((hole for hole in self._holes if hole.stop == run.start), None)
        after = next((hole for hole in self._holes if hole.start == run.stop), None)
        for hole in (before, after):
            if hole is not None:
                self._holes.remove(hole)
        start = run.start if before is None else before.start
        insort(self._holes, Run(start, run.stop if after is None else after.stop))

    def check(self) -> None:
        """Assert that every slot is in exactly one run or hole, and that holes are melted."""
        end = 0
        for piece in sorted((*self._runs, *self._holes)):
            assert piece.start == end, f"a gap or an overlap at {end}: {piece}"
            assert piece.size > 0, f"an empty piece at {end}"
            end = piece.stop
        assert end == self.slots_total, "slots were lost"
        touching = [
            a for a, b in zip(self._holes, self._holes[1:], strict=False) if a.stop >= b.start
        ]
        assert not touching, f"holes that touch: {touching}"

    def _take(self, index: int, run: Run) -> Run:
        hole = self._holes[index]
        rest = (Run(hole.start, run.start), Run(run.stop, hole.stop))
        self._holes[index : index + 1] = [piece for piece in rest if piece.size]
        self._runs.add(run)
        return run
