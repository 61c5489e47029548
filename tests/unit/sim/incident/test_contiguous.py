"""First fit against a memory kept slot by slot, which cannot be wrong in the same way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sim.incident.contiguous import ContiguousMemory, Run

SLOTS = 40


class SlotBySlot:
    """The shadow: one boolean for each slot."""

    def __init__(self) -> None:
        self.taken = [False] * SLOTS

    def allocate(self, slots: int) -> Run | None:
        for start in range(SLOTS - slots + 1):
            if not any(self.taken[start : start + slots]):
                self.fill(Run(start, start + slots), True)
                return Run(start, start + slots)
        return None

    def fill(self, run: Run, taken: bool) -> None:
        self.taken[run.start : run.stop] = [taken] * run.size

    def largest_hole(self) -> int:
        return max(map(len, "".join("x" if taken else " " for taken in self.taken).split("x")))


# Positive: allocate so much. Otherwise: release one of the runs there are.
@given(st.lists(st.integers(-20, 15).filter(bool), max_size=60))
def test_it_is_first_fit_and_neither_loses_nor_shares_a_slot(calls: list[int]) -> None:
    memory, shadow = ContiguousMemory(SLOTS), SlotBySlot()
    held: list[Run] = []
    for call in calls:
        if call > 0:
            run = memory.allocate(call)
            assert run == shadow.allocate(call)
            held += [run] if run is not None else []
        elif held:
            run = held.pop(call % len(held))
            memory.release(run)
            shadow.fill(run, False)
        memory.check()
        assert memory.runs == tuple(sorted(held))
        assert memory.slots_free == shadow.taken.count(False)
        assert memory.largest_hole == shadow.largest_hole()
    for run in held:
        memory.release(run)
    assert memory.largest_hole == memory.slots_free == SLOTS


def test_half_of_memory_can_be_free_and_no_hole_long_enough() -> None:
    memory = ContiguousMemory(SLOTS)
    runs = [memory.allocate(4) for _ in range(10)]
    for run in runs[::2]:
        assert run is not None
        memory.release(run)
    assert memory.slots_free == SLOTS // 2
    assert memory.allocate(5) is None


def test_a_pinned_run_lies_where_it_was_put_and_halves_the_largest_hole() -> None:
    memory = ContiguousMemory(SLOTS)
    memory.pin(Run(18, 22))
    assert memory.largest_hole == 18
    assert memory.allocate(19) is None
    with pytest.raises(AssertionError, match="not free"):
        memory.pin(Run(20, 24))


def test_a_run_is_released_whole_and_once() -> None:
    memory = ContiguousMemory(SLOTS)
    run = memory.allocate(8)
    assert run is not None
    with pytest.raises(AssertionError, match="nobody holds"):
        memory.release(Run(0, 4))
    memory.release(run)
    with pytest.raises(AssertionError, match="nobody holds"):
        memory.release(run)
