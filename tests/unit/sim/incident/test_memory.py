"""What a look at a memory says."""

from __future__ import annotations

from orchestrator.sim.incident.memory import CELLS, FREE, Area, MemoryState, draw


def test_held_and_empty_is_internal_and_beyond_the_largest_hole_is_external() -> None:
    state = MemoryState(
        slots_total=100, slots_free=40, slots_written=45, largest_hole=10, sequences=3, cells=""
    )
    assert state.free == 0.4
    assert state.internal_fragmentation == 0.15
    assert state.external_fragmentation == 0.75


def test_a_full_memory_has_no_external_fragmentation() -> None:
    state = MemoryState(
        slots_total=8, slots_free=0, slots_written=8, largest_hole=0, sequences=1, cells=""
    )
    assert state.external_fragmentation == 0


def test_a_cell_shows_what_fills_most_of_it() -> None:
    slots_total = 10 * CELLS
    areas = (Area(0, 20, "a"), Area(24, 36, "b"), Area(slots_total - 6, slots_total, "c"))
    cells = draw(areas, slots_total)
    assert cells[:5] == "aabb" + FREE
    assert cells[-2:] == FREE + "c"
    assert len(cells) == CELLS
