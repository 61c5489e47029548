"""The order of those who wait."""

from __future__ import annotations

from orchestrator.gateway.line import Line


def test_tickets_stand_in_order_of_arrival_not_of_joining() -> None:
    line = Line()
    first, second, third = line.arrive(), line.arrive(), line.arrive()
    line.join(third)
    line.join(first)
    line.join(first)
    assert (line.ahead(first), line.ahead(second), line.ahead(third)) == (0, 1, 1)
    assert len(line) == 2
    assert second not in line


def test_only_the_head_is_woken() -> None:
    line = Line()
    first, second = line.arrive(), line.arrive()
    line.join(first)
    line.join(second)
    line.wake()
    assert first.changed.is_set()
    assert not second.changed.is_set()


def test_leaving_wakes_the_next_and_leaving_again_nobody() -> None:
    line = Line()
    first, second = line.arrive(), line.arrive()
    line.join(first)
    line.join(second)
    line.leave(first)
    assert second.changed.is_set()
    second.changed.clear()
    line.leave(first)
    assert not second.changed.is_set()
    assert len(line) == 1


def test_an_empty_line_can_be_woken() -> None:
    Line().wake()
