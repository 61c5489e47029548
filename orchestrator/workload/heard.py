"""What a client heard of one request: the record by which every run is judged.

A client of the simulator and one behind HTTP write the same record, so one
verdict serves both. Times are seconds from the beginning of the run. Latencies
count from `due_s`, when the request should have been sent, never from when the
client got around to it: what a slow client or a full queue of senders hides is
called coordinated omission (G. Tene, "How NOT to Measure Latency", 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class End(Enum):
    """How a request ended, for its client."""

    ANSWERED = "answered"
    REFUSED = "refused"  # with a reason, before the first token
    BROKEN = "broken"  # an error after the first token, or an end that is none
    UNANSWERED = "unanswered"  # neither within its deadline, or without a reason
    LEFT = "left"  # the client went away, as it meant to


@dataclass(frozen=True, slots=True)
class Heard:
    """One request, from when it was due to its end."""

    number: int
    tag: str  # the kind of work it belongs to
    request_class: str
    due_s: float
    sent_s: float
    ended_s: float
    end: End
    code: str = ""  # why it was refused or broke: the error's stable code
    status: int = 0  # HTTP's, where there is one
    first_s: float | None = None  # of its tokens
    last_s: float | None = None
    gap_s: float = 0.0  # the longest silence between two of its tokens
    gaps_s: tuple[float, ...] = ()  # all of them, where somebody will ask
    tokens: int = 0  # generated, of all choices
    prompt_tokens: int = 0
    hit_tokens: int = 0
    connections: int = 1  # it took to hear it all
    said: tuple[str, ...] = ()  # of each choice

    @property
    def ttft_s(self) -> float | None:
        """Seconds until its first token."""
        return None if self.first_s is None else self.first_s - self.due_s

    @property
    def tpot_s(self) -> float | None:
        """Mean seconds between its tokens; None for fewer than two."""
        if self.first_s is None or self.last_s is None or self.tokens < 2:
            return None
        return (self.last_s - self.first_s) / (self.tokens - 1)
