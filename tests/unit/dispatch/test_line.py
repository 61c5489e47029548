"""Who is woken, and when. Whose turn it is, is policy's matter (tests/unit/policy/test_queue)."""

from __future__ import annotations

from orchestrator.gateway.line import Line, Ticket
from orchestrator.policy.queue import Place, QueueConfig
from protos.messages import RequestClass

INTERACTIVE, AGENT, BATCH = RequestClass


def empty_line() -> Line:
    return Line(lambda: 0, QueueConfig())


def arrive(line: Line, request_class: RequestClass = INTERACTIVE) -> tuple[Place, Ticket]:
    ticket = line.arrive()
    return Place(request_class, "", 30, ticket.number, ticket.choice), ticket


def test_places_stand_in_order_of_arrival_not_of_joining() -> None:
    line = empty_line()
    (first, ticket), (second, _), third = arrive(line), arrive(line), arrive(line)
    line.join(*third)
    line.join(first, ticket)
    line.join(first, ticket)
    assert (line.ahead(first), line.ahead(second), line.ahead(third[0])) == (0, 1, 1)
    assert len(line) == 2
    assert second not in line


def test_only_the_head_is_woken() -> None:
    line = empty_line()
    first, second = arrive(line), arrive(line)
    line.join(*first)
    line.join(*second)
    line.wake()
    assert first[1].changed.is_set()
    assert not second[1].changed.is_set()


def test_the_head_is_whose_turn_it_is_not_who_came_first() -> None:
    line = empty_line()
    batch, chat = arrive(line, BATCH), arrive(line)
    line.join(*batch)
    line.join(*chat)
    line.wake()
    assert chat[1].changed.is_set()
    assert not batch[1].changed.is_set()
    assert (line.waiting(BATCH), line.waiting(AGENT), line.waiting(INTERACTIVE)) == (1, 0, 1)


def test_leaving_wakes_the_next_and_leaving_again_nobody() -> None:
    line = empty_line()
    first, second = arrive(line), arrive(line)
    line.join(*first)
    line.join(*second)
    line.leave(first[0])
    assert second[1].changed.is_set()
    second[1].changed.clear()
    line.leave(first[0])
    assert not second[1].changed.is_set()
    assert len(line) == 1


def test_an_empty_line_can_be_woken() -> None:
    empty_line().wake()


def test_who_stands_aside_hears_everything_and_holds_up_nobody() -> None:
    line = empty_line()
    aside, second = arrive(line), arrive(line)
    line.join(*aside)
    line.join(*second)
    line.step_aside(*aside)
    assert second[1].changed.is_set()
    assert (line.ahead(second[0]), len(line)) == (0, 1)
    for _, ticket in (aside, second):
        ticket.changed.clear()
    line.wake()
    assert aside[1].changed.is_set() and second[1].changed.is_set()


def test_who_stood_aside_may_join_or_leave() -> None:
    line = empty_line()
    first, second = arrive(line), arrive(line)
    line.step_aside(*first)
    line.step_aside(*second)
    line.join(*first)
    line.leave(second[0])
    second[1].changed.clear()
    line.wake()
    assert len(line) == 1
    assert not second[1].changed.is_set()


def test_who_is_pushed_out_is_told_and_stands_in_the_line_no_more() -> None:
    line = empty_line()
    first, last = arrive(line, BATCH), arrive(line, BATCH)
    line.join(*first)
    line.join(*last)
    newcomer, _ = arrive(line)
    assert line.has_worse(newcomer)
    line.push_out(newcomer)
    assert last[0] not in line and first[0] in line
    assert last[1].is_pushed_out and last[1].changed.is_set()
    assert not first[1].is_pushed_out
