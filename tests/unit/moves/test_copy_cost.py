"""What a copy is expected to cost, after none, some and strange ones."""

from __future__ import annotations

import pytest

from replicas.shell.moves.copy_cost import CopyCost

MS = 1_000_000


def assumed() -> CopyCost:
    cost = CopyCost()
    cost.assume(start_ns=10 * MS, block_bytes=2_000_000, bytes_per_s=1_000_000_000)
    return cost


def test_before_the_first_copy_the_assumption_holds() -> None:
    cost = assumed()
    assert (cost.start_ns, cost.block_ns) == (10 * MS, 2 * MS)
    assert cost.expected_ns(5) == 20 * MS


def test_without_an_assumption_there_are_no_copies() -> None:
    cost = CopyCost()
    cost.learn(10, 5 * MS)
    assert (cost.start_ns, cost.block_ns) == (0, 0)


@pytest.mark.parametrize(("start_ms", "block_us"), [(1, 200), (50, 2000), (3, 9000), (30, 10)])
def test_copies_of_several_lengths_show_both_parts(start_ms: int, block_us: int) -> None:
    cost = assumed()
    for number in range(60):
        blocks = 1 + number * 7 % 40
        cost.learn(blocks, start_ms * MS + blocks * block_us * 1000)
    assert cost.start_ns == pytest.approx(start_ms * MS, rel=0.25, abs=MS)
    assert cost.block_ns == pytest.approx(block_us * 1000, rel=0.25, abs=20_000)


def test_copies_of_one_length_show_what_that_length_costs() -> None:
    cost = assumed()
    for _ in range(60):
        cost.learn(12, 60 * MS)
    assert cost.expected_ns(12) == pytest.approx(60 * MS, rel=0.05)
    assert cost.block_ns > 0


def test_one_copy_that_was_held_up_is_not_believed() -> None:
    cost = assumed()
    for number in range(20):
        blocks = 1 + number * 7 % 40
        cost.learn(blocks, 10 * MS + blocks * 2 * MS)
    before = cost.expected_ns(20)
    cost.learn(20, 1000 * before)
    assert before < cost.expected_ns(20) < 2 * before
    for _ in range(20):
        cost.learn(20, 1000 * before)
    assert cost.expected_ns(20) > 20 * before, "but many are"


def test_neither_part_is_ever_negative() -> None:
    for took in ((1, 90), (90, 1), (1, 1), (90, 90)):
        cost = assumed()
        for _ in range(50):
            cost.learn(1, took[0] * MS)
            cost.learn(30, took[1] * MS)
        assert cost.start_ns >= 0
        assert cost.block_ns >= 1


def test_a_copy_of_nothing_teaches_nothing() -> None:
    cost = assumed()
    cost.learn(0, 500 * MS)
    assert cost.start_ns == 10 * MS
