"""How far a delivery has come, for whoever waits for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

LOG = logging.getLogger(__name__)
LOG_PERIOD_S = 5.0
UNITS = ("bytes", "KB", "MB", "GB", "TB")


@dataclass(slots=True)
class Progress:
    """Counted by those who fetch, read by anybody. Bytes of `resumed` were here before."""

    model: str
    bytes_total: int = 0
    resumed: int = 0
    fetched: int = 0
    waits: bool = False  # for another process, which fetches the same
    is_here: bool = False  # all of it, whoever brought it
    began_ns: int = field(default_factory=time.monotonic_ns)
    _lock: Lock = field(default_factory=Lock)

    def add(self, fetched: int) -> None:
        with self._lock:
            self.fetched += fetched

    def resume(self, found: int) -> None:
        """Of bytes that are here, whoever brought them."""
        with self._lock:
            self.resumed += found

    @property
    def here(self) -> int:
        return self.resumed + self.fetched

    def __str__(self) -> str:
        if self.is_here:
            return self.model
        if self.waits:
            return f"{self.model}: waiting for another process that fetches it"
        if not self.bytes_total:
            return f"{self.model}: looking for its files"
        share = 100 * self.here // self.bytes_total
        return f"{self.model}: {sized(self.here)} of {sized(self.bytes_total)} ({share} %)"


class Watch(Protocol):
    """Somebody who is told how a delivery goes: every `period_s`, and at its end."""

    @property
    def period_s(self) -> float: ...

    def tell(self, progress: Progress) -> None: ...


class LineWatch:
    """A line at a steady pace, with the rate since the one before; by default a log's."""

    period_s = LOG_PERIOD_S

    def __init__(
        self,
        say: Callable[[str], None] = LOG.info,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._say = say
        self._clock = clock
        self._last_ns = clock()
        self._last_bytes = 0
        self._last: Progress | None = None  # of the delivery that was told of last

    def tell(self, progress: Progress) -> None:
        if progress.is_here:
            return  # then whoever brought it has said so
        if progress is not self._last:
            self._last, self._last_bytes = progress, 0
        now_ns = self._clock()
        elapsed_ns, came = now_ns - self._last_ns, progress.fetched - self._last_bytes
        self._last_ns, self._last_bytes = now_ns, progress.fetched
        rate = came * 1_000_000_000 // max(elapsed_ns, 1)
        pace = f", {sized(rate)}/s" if came else ""
        self._say(f"fetching {progress}{pace}")


def sized(count: int) -> str:
    """In units of thousands, as links are measured."""
    amount, unit = float(count), 0
    while amount >= 1000 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{count} bytes" if unit == 0 else f"{amount:.1f} {UNITS[unit]}"
