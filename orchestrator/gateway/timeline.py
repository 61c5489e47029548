"""A request's record as moments and stretches of time, in order, each with a few words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.gateway.caller import ANYBODY, Caller
from orchestrator.gateway.record import Happened, Happening, Placed, Record, ms
from orchestrator.gateway.stretches import AttemptEnd, Stage


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timeline."""

    at_ms: float  # since its arrival
    lasted_ms: float | None  # None: a moment, or not over yet
    what: str
    choice: int
    replica: str
    words: str


STAGES = {
    Stage.PREPARE: "its text became tokens",
    Stage.HASH: "named the blocks of its prompt",
    Stage.LOCATE: "asked the registry who holds them",
    Stage.ADMIT: "asked for a place",
}
HAPPENINGS = {
    Happening.QUEUED: "it had to wait ({detail})",
    Happening.TURNED_AWAY: "it was turned away ({detail})",
    Happening.GIVEN_UP: "it was given up: {detail}",
    Happening.REFUSED: "{replica} refused it ({detail})",
    Happening.LOST: "{replica} was lost ({detail})",
    Happening.MOVED: "{replica} moved it, with its KV, to {detail}",
    Happening.HANDED_BACK: "{replica} handed it back, to go on elsewhere",
    Happening.ADOPTED: "it went on at {replica}, where it had been moved",
    Happening.ADOPTION_FAILED: "it was not to be had at {replica} ({detail})",
    Happening.TAKEN_OVER: "it was found at {replica}, where another gateway had left it",
    Happening.NOT_FOUND: "it waited nowhere, and was computed again",
}
ENDS = {
    AttemptEnd.FINISHED: "it finished there",
    AttemptEnd.REFUSED: "it was refused",
    AttemptEnd.LOST: "the replica was lost",
    AttemptEnd.MOVED: "it was moved on",
    AttemptEnd.HANDED_BACK: "it was handed back",
    AttemptEnd.LEFT: "it was given up",
}


def timeline(record: Record, caller: Caller = ANYBODY) -> tuple[Entry, ...]:
    """Everything that the record has for this caller, the earliest first."""
    entries = (*_stages(record), *_events(record, caller), *_attempts(record), *_ends(record))
    return tuple(sorted(entries, key=lambda entry: entry.at_ms))


def happening(event: Happened, caller: Caller) -> str:
    """What happened, as part of a sentence."""
    replica = event.replica_id or "a replica"
    return HAPPENINGS[event.what].format(replica=replica, detail=event.told(caller))


def _stages(record: Record) -> Iterator[Entry]:
    for stretch in record.stretches:
        parts = (STAGES[stretch.stage], stretch.detail, ", ".join(stretch.reasons))
        at_ms, lasted_ms = _times(record, stretch.began_ns, stretch.ended_ns)
        words = "; ".join(part for part in parts if part)
        yield Entry(at_ms, lasted_ms, stretch.stage.value, stretch.choice, "", words)


def _events(record: Record, caller: Caller) -> Iterator[Entry]:
    for event in record.events:
        at_ms = ms(event.at_ns - record.began_ns)
        if isinstance(event, Placed):
            placement = event.look.placement
            reason = placement.reason.value
            yield Entry(at_ms, None, "placed", event.choice, placement.replica_id, reason)
        else:
            replica, words = event.replica_id or "", happening(event, caller)
            yield Entry(at_ms, None, event.what.value, event.choice, replica, words)


def _attempts(record: Record) -> Iterator[Entry]:
    for attempt in record.attempts:
        words = "it goes on" if attempt.end is None else ENDS[attempt.end]
        at_ms, lasted_ms = _times(record, attempt.began_ns, attempt.ended_ns)
        yield Entry(at_ms, lasted_ms, "attempt", attempt.choice, attempt.replica_id, words)


def _ends(record: Record) -> Iterator[Entry]:
    if record.first_token_ns is not None:
        at_ms = ms(record.first_token_ns - record.began_ns)
        yield Entry(at_ms, None, "first token", 0, record.replica_id or "", "")
    if record.ended_ns is not None:
        yield Entry(ms(record.ended_ns - record.began_ns), None, "end", 0, "", record.outcome or "")


def _times(record: Record, began_ns: int, ended_ns: int | None) -> tuple[float, float | None]:
    lasted_ms = None if ended_ns is None else ms(ended_ns - began_ns)
    return ms(began_ns - record.began_ns), lasted_ms
