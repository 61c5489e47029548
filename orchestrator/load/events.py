"""Server-sent events out of bytes, as they come (WHATWG HTML, 9.2).

An event counts only when the empty line after it has arrived: half of one is
what a broken connection leaves behind, and who resumes gets it again, whole.
Lines may end in LF, CRLF or CR. This runs for every token that is heard, so
the usual case (LF, one `data` line) takes the short way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

EVENT_BYTES_MAX = 16 * 1024 * 1024


class NotEvents(Exception):
    """What arrives is no stream of events, or has no end."""


class Event(NamedTuple):
    """A complete event; without an id of its own it has the latest one."""

    id: str
    data: bytes


class EventReader:
    """Bytes in, complete events out."""

    def __init__(self, last_id: str = "") -> None:
        self._rest = b""
        self._last_id = last_id

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that these bytes complete. Raises NotEvents."""
        text = self._rest + chunk
        if b"\r" in text:
            text = _with_plain_ends(text)
        *blocks, self._rest = text.split(b"\n\n")
        if len(self._rest) > EVENT_BYTES_MAX:
            raise NotEvents(f"an event of more than {EVENT_BYTES_MAX} bytes")
        for block in blocks:
            data = self._data_of(block)
            if data:
                yield Event(self._last_id, data)

    def _data_of(self, block: bytes) -> bytes:
        if block.startswith(b"data: ") and b"\n" not in block:
            return block[6:]
        data = []
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            if name == b"data":
                data.append(value.removeprefix(b" "))
            elif name == b"id":
                self._last_id = value.removeprefix(b" ").decode(errors="replace")
        return b"\n".join(data)


def _with_plain_ends(text: bytes) -> bytes:
    """LF only. A CR at the very end waits: its LF may be under way."""
    body, waiting = (text[:-1], b"\r") if text.endswith(b"\r") else (text, b"")
    return body.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + waiting
