"""Streams that changed replica, as their records tell."""

from __future__ import annotations

from orchestrator.gateway.page.moves import MOVES_MAX, moves_of
from orchestrator.gateway.record import Happening
from tests.unit.gateway.page.records import NOW, A, B, happened, record


def test_a_move_has_an_end_once_its_stream_goes_on() -> None:
    moving = record(began_s=9)
    moving.events.append(happened(Happening.MOVED, 2, A, B))
    (move,) = moves_of([moving], NOW)
    assert (move["source"], move["target"], move["end"]) == ("a", "b", "moved")
    assert move["age_ms"] == 2000

    moving.events.append(happened(Happening.ADOPTED, 1.9, B))
    (ended,) = moves_of([moving], NOW)
    assert (ended["id"], ended["end"]) == (move["id"], "adopted")


def test_there_and_back_are_two_moves_with_an_end_each() -> None:
    moving = record(began_s=9)
    moving.events += [
        happened(Happening.MOVED, 4, A, B),
        happened(Happening.ADOPTION_FAILED, 3, B, "gone"),
        happened(Happening.MOVED, 2, B, A),
    ]
    assert [(move["source"], move["end"]) for move in moves_of([moving], NOW)] == [
        ("b", "moved"),
        ("a", "adoption_failed"),
    ]


def test_what_is_handed_back_has_no_target() -> None:
    returned = record(began_s=9)
    returned.events.append(happened(Happening.HANDED_BACK, 2, A))
    (move,) = moves_of([returned], NOW)
    assert (move["target"], move["end"]) == (None, "handed_back")


def test_moves_are_bounded_and_the_newest_first() -> None:
    records = []
    for number in range(MOVES_MAX + 9):
        records.append(record(f"r{number}", began_s=200))
        records[-1].events.append(happened(Happening.MOVED, 100 + number, A, B))
    moves = moves_of(records, NOW)
    assert len(moves) == MOVES_MAX
    assert moves[0]["request_id"] == "r0"
