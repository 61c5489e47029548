"""Streams that changed replica, as this gateway saw them: from where, where to, how it ended.

A move that began and has no end yet is one whose stream is silent right now.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import Any

from orchestrator.gateway.record import Happened, Happening, Record

MOVES_MAX = 50
BEGINNINGS = (Happening.MOVED, Happening.HANDED_BACK)
ENDS = (Happening.ADOPTED, Happening.ADOPTION_FAILED)


def moves_of(records: Sequence[Record], now_ns: int) -> list[dict[str, Any]]:
    """The newest first."""
    begun = (
        (record, number, event)
        for record in records
        for number, event in enumerate(record.events)
        if isinstance(event, Happened) and event.what in BEGINNINGS
    )
    latest = nlargest(MOVES_MAX, begun, key=lambda move: move[2].at_ns)
    return [move_of(record, number, event, now_ns) for record, number, event in latest]


def move_of(record: Record, number: int, event: Happened, now_ns: int) -> dict[str, Any]:
    """The record's event of this number, and what came of it."""
    later = (
        after.what.value
        for after in record.events[number + 1 :]
        if isinstance(after, Happened) and after.what in ENDS and after.choice == event.choice
    )
    return {
        "id": f"{record.request_id}/{number}",
        "request_id": record.request_id,
        "choice": event.choice,
        "source": event.replica_id,
        "target": event.detail or None,
        "end": next(later, event.what.value),
        "age_ms": (now_ns - event.at_ns) // 1_000_000,
    }
