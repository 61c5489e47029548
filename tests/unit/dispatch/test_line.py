"""The order of those who wait."""

from __future__ import annotations

from orchestrator.gateway.line import Line, Ticket


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


def test_who_stands_aside_hears_everything_and_holds_up_nobody() -> None:
    line = Line()
    aside, second = line.arrive(), line.arrive()
    line.join(aside)
    line.join(second)
    line.step_aside(aside)
    assert second.changed.is_set()
    assert (line.ahead(second), len(line)) == (0, 1)
    for ticket in (aside, second):
        ticket.changed.clear()
    line.wake()
    assert aside.changed.is_set() and second.changed.is_set()


def test_who_stood_aside_may_join_or_leave() -> None:
    line = Line()
    first, second = line.arrive(), line.arrive()
    line.step_aside(first)
    line.step_aside(second)
    line.join(first)
    line.leave(second)
    second.changed.clear()
    line.wake()
    assert len(line) == 1
    assert not second.changed.is_set()


def test_choices_of_one_request_have_places_of_their_own() -> None:
    line = Line()
    number, later = line.arrive().number, line.arrive()
    tickets = [Ticket(number, choice) for choice in range(3)]
    for ticket in (later, *reversed(tickets)):
        line.join(ticket)
    assert [line.ahead(ticket) for ticket in (*tickets, later)] == [0, 1, 2, 3]
    line.leave(tickets[0])
    assert tickets[1] in line and tickets[0] not in line
