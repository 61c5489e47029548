"""The bytes of one remote file, in order, from wherever one left off.

Read by ranges of a bounded size. A server that knows no ranges is read from
the beginning and what is here already is passed over, so that going on costs
the way but no memory.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Self

from replicas.delivery.errors import RemoteUnsound
from replicas.delivery.store import Found, Store


class Reading:
    """A context manager. Not for several threads."""

    def __init__(self, store: Store, found: Found) -> None:
        self._store = store
        self._found = found
        self._file: Any = None
        self._at = 0
        self._is_streamed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, at: int, end: int) -> bytes:
        """The next bytes, at least one and at most a chunk. Raises DeliveryError."""
        assert at < end <= self._found.size, "nothing is asked for that is not there"
        name, failures = self._found.name, 0
        while True:
            self._store.check_wanted()
            try:
                return self._chunk(at, end)
            except Exception as error:  # of any of many libraries
                self._close()
                if self._knows_no_ranges(error):
                    self._is_streamed = True
                    continue
                failures += 1
                if not self._store.may_ask_again(f"read {name} from {at} on", error, failures):
                    raise RemoteUnsound(f"{self._store.location}: {name} is gone.") from None

    def _chunk(self, at: int, end: int) -> bytes:
        size = min(self._store.delivery.chunk_bytes, end - at)
        if self._file is None:
            self._file = self._store.opened(self._found.name, is_streamed=self._is_streamed)
            self._at = 0
        if self._is_streamed:
            self._pass_over(at)
        elif self._at != at:
            self._file.seek(at)
        chunk: bytes = self._file.read(size)
        if not chunk:
            raise EOFError(f"nothing came after {at} of {self._found.size} bytes")
        if len(chunk) > size:
            raise ValueError(f"{len(chunk)} bytes came where {size} were asked for")
        self._at = at + len(chunk)
        return chunk

    def _pass_over(self, at: int) -> None:
        while self._at < at:
            self._store.check_wanted()
            passed = self._file.read(min(self._store.delivery.chunk_bytes, at - self._at))
            if not passed:
                raise EOFError(f"nothing came after {self._at} of {self._found.size} bytes")
            self._at += len(passed)

    def _knows_no_ranges(self, error: Exception) -> bool:
        """As fsspec says it of a server that sends the whole file, or whose files cannot seek."""
        said = str(error)
        return (
            not self._is_streamed
            and isinstance(error, ValueError)
            and ("range requests" in said or "Cannot seek" in said)
        )

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(Exception):
                file.close()
