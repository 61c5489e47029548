"""One question, or two, find every boundary that a walk over the whole chain would find."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.registry.lookup import (
    RUN_BLOCKS,
    WHOLE_BLOCKS,
    boundary_indices,
    leading_blocks,
    probe_indices,
    slots_in,
)


def two_step(length: int, held: dict[int, int], live: int) -> tuple[dict[int, int], int]:
    """The answer for slots that hold `held[slot]` leading blocks, and how many were fetched."""

    def mask(index: int) -> int:
        return sum(1 << slot for slot, blocks in held.items() if blocks > index)

    masks = {index: mask(index) for index in probe_indices(length)}
    between = boundary_indices(length, masks, live)
    assert not set(between) & set(masks)
    masks |= {index: mask(index) for index in between}
    return leading_blocks(length, masks, live), len(masks)


@st.composite
def chains(draw: st.DrawFn) -> tuple[int, dict[int, int]]:
    length = draw(st.integers(1, 20) | st.integers(WHOLE_BLOCKS - 1, WHOLE_BLOCKS + 70))
    slots = st.sets(st.integers(0, 130), max_size=6)
    return length, {slot: draw(st.integers(0, length)) for slot in draw(slots)}


@given(chains(), st.sets(st.integers(0, 130)))
def test_two_steps_find_what_a_walk_finds(
    chain: tuple[int, dict[int, int]], live: set[int]
) -> None:
    """Power: fetching one block less of a run, or one probe less, fails here."""
    length, held = chain
    live |= set(list(held)[:3])
    found, _ = two_step(length, held, sum(1 << slot for slot in live))
    assert found == {slot: blocks for slot, blocks in held.items() if blocks and slot in live}


def test_a_cold_chain_is_known_after_the_first_question() -> None:
    assert two_step(250, {3: 0}, live=0b1000) == ({}, len(probe_indices(250)))


def test_a_dead_slot_costs_no_second_question() -> None:
    assert two_step(250, {3: 100}, live=0) == ({}, len(probe_indices(250)))


def test_a_long_chain_costs_a_tenth_or_so_of_its_bitmaps() -> None:
    found, fetched = two_step(250, {0: 123}, live=1)
    assert found == {0: 123}
    assert fetched == 1 + 250 // RUN_BLOCKS + RUN_BLOCKS - 1


def test_slots_come_lowest_first() -> None:
    assert slots_in(0) == []
    assert slots_in(1 << 1000 | 0b101) == [0, 2, 1000]


def test_a_chain_of_ordinary_length_is_one_question() -> None:
    found, fetched = two_step(WHOLE_BLOCKS, {0: 40}, live=1)
    assert (found, fetched) == ({0: 40}, WHOLE_BLOCKS)
    assert boundary_indices(WHOLE_BLOCKS, dict.fromkeys(range(WHOLE_BLOCKS), 1), 1) == []
