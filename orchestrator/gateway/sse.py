"""An answer as server-sent events, in OpenAI's form and order.

For every choice an opening chunk (chats only), then text, then a chunk with
nothing but the finish reason; after all choices, if asked for, a chunk with
the usage and no choices; then `[DONE]`. An error ends the stream with an
`error` event and without `[DONE]`, so that no client takes half an answer for
a whole one. Everything that a piece brings goes out in one write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from orchestrator.gateway.choice import Piece
from orchestrator.gateway.event_ids import EventIds, Mark
from orchestrator.gateway.replies import Reply, to_json

DONE = b"data: [DONE]\n\n"


class EventWriter:
    """Bytes to send, for one answer.

    With `ids`, every event names what its client has once it has the event;
    what their marks say was sent already is not sent again.
    """

    def __init__(self, reply: Reply, *, include_usage: bool, ids: EventIds | None = None) -> None:
        self._reply = reply
        self._ids = ids
        self._marks: Mapping[int, Mark] = (
            defaultdict(Mark) if ids is None else dict(enumerate(ids.marks))
        )
        self._head = f"data: {reply.head()}"
        # With usage asked for, every chunk has the field, and all but the last have it empty.
        self._tail = ',"usage":null}\n\n' if include_usage else "}\n\n"

    def piece(self, piece: Piece) -> bytes:
        """Events for one piece; empty when it shows nothing yet."""
        mark = self._marks[piece.choice]
        events = ""
        if not mark.is_opened:
            opening = self._reply.opening()
            mark.is_opened = opening is not None
            events += self._chunk(piece.choice, opening) if opening else ""
        if piece.text or self._reply.shows_tokens:
            content = self._reply.content(piece)
            if not piece.is_known:
                mark.is_opened = True
                mark.tokens = piece.first_index + len(piece.tokens)
                events += self._chunk(piece.choice, content)
        if piece.finish is not None and not mark.is_finished:
            mark.is_opened = mark.is_finished = True
            mark.tokens = piece.first_index + len(piece.tokens)
            events += self._chunk(piece.choice, self._reply.ending(), f'"{piece.finish.value}"')
        return events.encode()

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The event that carries the usage."""
        line = self._ids.line(has_usage=True) if self._ids else ""
        return f'{line}{self._head},"choices":[],"usage":{to_json(usage)}}}\n\n'.encode()

    def _chunk(self, choice: int, body: str, finish: str = "null") -> str:
        line = self._ids.line() if self._ids else ""
        choices = f'[{{"index":{choice},{body},"finish_reason":{finish}}}]'
        return f'{line}{self._head},"choices":{choices}{self._tail}'


def error_event(error: dict[str, Any]) -> bytes:
    """The event that ends a stream that failed."""
    return f"data: {to_json(error)}\n\n".encode()
