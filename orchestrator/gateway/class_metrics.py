"""What is told of requests for each class apart: who waits for what differs by class.

Durations are integer nanoseconds. Of a request with several choices, what
concerns tokens is told for each choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from orchestrator.control.durations import Durations
from orchestrator.gateway.stream import Timing

# From a cached prompt on an idle GPU to a queue that a client gives up on.
_WAIT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)
# From a small model on a new GPU to one that hardly keeps up with a reader, and to a stall.
_TOKEN_S = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2.5, 5)
# From a word to a long answer.
_WHOLE_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)


class ClassMetrics:
    """Of one class."""

    DURATIONS: ClassVar[Mapping[str, str]] = {
        "time_to_first_token_seconds": "Arrival to first token",
        "time_per_output_token_seconds": "Mean time for each token after the first, by choice",
        "inter_token_latency_seconds": "Time since the token before",
        "e2e_request_latency_seconds": "Arrival to the end of an answer that came to its end",
        "request_queue_time_seconds": "Waiting in the gateway's line and then in the replica's",
        "request_prefill_time_seconds": "From then on to the first token",
        "request_decode_time_seconds": "First token to last, by choice",
    }

    def __init__(self) -> None:
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self._ttft = Durations(_WAIT_S)
        self._tpot = Durations(_TOKEN_S)
        self._itl = Durations(_TOKEN_S)
        self._e2e = Durations(_WHOLE_S)
        self._queue = Durations(_WAIT_S)
        self._prefill = Durations(_WAIT_S)
        self._decode = Durations(_WHOLE_S)

    @property
    def durations(self) -> Mapping[str, Durations]:
        """By the names of DURATIONS."""
        own = (
            self._ttft,
            self._tpot,
            self._itl,
            self._e2e,
            self._queue,
            self._prefill,
            self._decode,
        )
        return dict(zip(self.DURATIONS, own, strict=True))

    def started(self, timing: Timing, *, ttft_ns: int, prompt_tokens: int) -> None:
        """The first token is here."""
        self._ttft.observe(ttft_ns)
        self._queue.observe(timing.queue_ns + timing.replica_queue_ns)
        self._prefill.observe(timing.first_delta_ns - timing.replica_queue_ns)
        self.prompt_tokens += prompt_tokens

    def tokens_came(self, count: int, *, since_ns: int | None, now_ns: int) -> None:
        """A choice gained tokens; before, if it was not the first time, it did at `since_ns`."""
        self.generation_tokens += count
        if since_ns is not None:
            self._itl.observe(now_ns - since_ns)

    def choice_ended(self, *, tokens: int, duration_ns: int) -> None:
        """`duration_ns` from the choice's first token to its last."""
        self._decode.observe(duration_ns)
        if tokens > 1:
            self._tpot.observe(duration_ns // (tokens - 1))

    def answered(self, e2e_ns: int) -> None:
        """An answer came to its end, so long after its request."""
        self._e2e.observe(e2e_ns)
