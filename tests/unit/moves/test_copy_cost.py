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


@pytest.mark.parametrize("waited_ms", [0, 12, 74, 200])
def test_a_copy_that_was_given_up_never_makes_copies_cheaper(waited_ms: int) -> None:
    cost = assumed()
    for number in range(20):
        blocks = 1 + number * 7 % 40
        cost.learn(blocks, 10 * MS + blocks * 2 * MS)
    before = cost.expected_ns(32)
    for _ in range(10):
        cost.learn_late(32, waited_ms * MS)
    assert cost.expected_ns(32) >= before
    assert (cost.expected_ns(32) > before) == (waited_ms * MS > before)


def test_only_what_made_copies_dearer_is_forgotten() -> None:
    dear, cheap = assumed(), assumed()
    for _ in range(10):
        dear.learn(20, 500 * MS)
        cheap.learn(20, 15 * MS)
    believed = cheap.expected_ns(20)
    dear.forget()
    cheap.forget()
    assert dear.expected_ns(20) == assumed().expected_ns(20)
    assert cheap.expected_ns(20) == believed < assumed().expected_ns(20)


def test_a_copy_of_nothing_teaches_nothing() -> None:
    cost = assumed()
    cost.learn(0, 500 * MS)
    assert cost.start_ns == 10 * MS
