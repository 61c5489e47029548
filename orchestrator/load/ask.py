"""What is asked of a server, and how its client behaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Seconds since the beginning of the run.
Clock = Callable[[], float]


def clock_from_now() -> Clock:
    """Of a run that begins with this call."""
    began = time.monotonic()
    return lambda: time.monotonic() - began


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. Every span of time counts from `due_s`."""

    number: int
    tag: str  # the kind of work it belongs to
    request_class: str  # interactive, agent or batch; empty: the server's default
    due_s: float
    body: dict[str, Any]  # with `messages` it is a chat, with `prompt` a completion; it streams
    deadline_s: float  # an answer or a reason by then
    leaves_after_s: float | None = None  # when its client hangs up
    reads_per_s: float | None = None  # events its client takes; None: all at once
    name: str = ""  # its X-Request-Id, the same on every connection; empty: tag and number

    @property
    def path(self) -> str:
        """The endpoint that takes this body."""
        return "/v1/chat/completions" if "messages" in self.body else "/v1/completions"

    @property
    def choices(self) -> int:
        """How many answers it asks for."""
        return int(self.body.get("n", 1))

    @property
    def request_id(self) -> str:
        """What servers are told that it is called."""
        return self.name or f"{self.tag or 'load'}-{self.number}"
