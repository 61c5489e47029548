"""The id of a server-sent event: how much of an answer a client has once it has the event.

An id is the answer's origin and a mark for each choice: `-` before its first
event, the number of tokens whose text was sent, and `f` once its end was. `u`
at the end says that the usage was sent as well.

    eyJ…fQ.12,7f        choice 0 goes on after 12 tokens, choice 1 has ended after 7
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.gateway.ask import CHOICES_MAX
from orchestrator.gateway.resumption import Origin, Resumption, decode_origin, malformed

HEADER = "last-event-id"
PARAM = "Last-Event-ID"
_MARK = re.compile(r"-|(\d{1,10})(f?)")


@dataclass(slots=True)
class Mark:
    """What was sent of one choice."""

    is_opened: bool = False
    tokens: int = 0
    is_finished: bool = False

    def __str__(self) -> str:
        return f"{self.tokens}{'f' * self.is_finished}" if self.is_opened else "-"


class EventIds:
    """Follows what was sent of one answer, and names every event."""

    def __init__(self, origin: Origin, marks: Sequence[Mark]) -> None:
        self.marks = marks
        self._origin = origin.encode()

    def line(self, *, has_usage: bool = False) -> str:
        """The line that an event begins with, once its marks have been set."""
        marks = ",".join(map(str, self.marks))
        return f"id: {self._origin}.{marks}{'u' * has_usage}\n"


@dataclass(frozen=True, slots=True)
class LastEvent:
    """What a client said was the last event it had."""

    origin: Origin
    marks: tuple[Mark, ...]
    has_usage: bool

    @property
    def resumption(self) -> Resumption:
        return Resumption(
            self.origin,
            tuple(mark.tokens for mark in self.marks),
            frozenset(choice for choice, mark in enumerate(self.marks) if mark.is_finished),
            PARAM,
        )


def parse_event_id(word: str) -> LastEvent:
    """Raises InvalidRequest for anything but an id of ours."""
    origin, _, rest = word.partition(".")
    words = rest.removesuffix("u").split(",")
    found = [_MARK.fullmatch(mark) for mark in words]
    if len(found) > CHOICES_MAX:
        raise malformed(PARAM)
    marks = []
    for match in found:
        if match is None:
            raise malformed(PARAM)
        marks.append(Mark(match[1] is not None, int(match[1] or 0), bool(match[2])))
    return LastEvent(decode_origin(origin, param=PARAM), tuple(marks), rest.endswith("u"))
