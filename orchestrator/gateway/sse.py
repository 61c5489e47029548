"""An answer as server-sent events, in OpenAI's form and order.

For every choice an opening chunk (chats only), then text, then a chunk with
nothing but the finish reason; after all choices, if asked for, a chunk with
the usage and no choices; then `[DONE]`. An error ends the stream with an
`error` event and without `[DONE]`, so that no client takes half an answer for
a whole one. Everything that a piece brings goes out in one write.
"""

from __future__ import annotations

from typing import Any

from orchestrator.gateway.choice import Piece
from orchestrator.gateway.replies import Reply, to_json

DONE = b"data: [DONE]\n\n"


class EventWriter:
    """Bytes to send, for one answer."""

    def __init__(self, reply: Reply, *, include_usage: bool) -> None:
        self._reply = reply
        self._head = f"data: {reply.head()}"
        # With usage asked for, every chunk has the field, and all but the last have it empty.
        self._tail = ',"usage":null}\n\n' if include_usage else "}\n\n"
        self._opened: set[int] = set()

    def piece(self, piece: Piece) -> bytes:
        """Events for one piece; empty when it shows nothing yet."""
        events = ""
        if piece.choice not in self._opened:
            self._opened.add(piece.choice)
            opening = self._reply.opening()
            events += self._chunk(piece.choice, opening) if opening else ""
        if piece.text or self._reply.shows_tokens:
            events += self._chunk(piece.choice, self._reply.content(piece))
        if piece.finish is not None:
            events += self._chunk(piece.choice, self._reply.ending(), f'"{piece.finish.value}"')
        return events.encode()

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The event that carries the usage."""
        return f'{self._head},"choices":[],"usage":{to_json(usage)}}}\n\n'.encode()

    def _chunk(self, choice: int, body: str, finish: str = "null") -> str:
        choices = f'[{{"index":{choice},{body},"finish_reason":{finish}}}]'
        return f'{self._head},"choices":{choices}{self._tail}'


def error_event(error: dict[str, Any]) -> bytes:
    """The event that ends a stream that failed."""
    return f"data: {to_json(error)}\n\n".encode()
