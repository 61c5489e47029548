"""What processes tell each other of a trace, and the spans that they make of what they know.

A trace follows one request through every process. Its context travels in the
form of W3C Trace Context (`traceparent`), from a client's header through the
gateway to the replicas, and with a sequence that moves. A span's id is derived
from what it stands for, so whoever needs to name a parent can do so before
that parent has ended, and no process keeps spans open.

Spans are plain data, with times of the monotonic clock of their process:
whoever exports them knows the date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

TRACEPARENT = "traceparent"  # the header, and the key of gRPC metadata
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1  # the only flag of version 00 that matters here
_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_INVALID_VERSION = "ff"

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace: whoever gets it makes spans below `span_id`."""

    trace_id: str  # 32 lower-case hexadecimal digits
    span_id: str  # 16 of them
    is_sampled: bool = True

    @property
    def traceparent(self) -> str:
        """As it is told to others."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"

    def child(self, *what: object) -> TraceContext:
        """The span below this one that stands for `what`, and for nothing else in its trace."""
        return TraceContext(self.trace_id, _digest(_SPAN_ID_BYTES, self, *what), self.is_sampled)


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time."""

    name: str
    context: TraceContext  # its own
    parent_id: str | None
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    events: tuple[tuple[int, str], ...] = ()  # when, and what
    is_error: bool = False
    is_root: bool = False  # where its process was first asked


# Takes spans that have ended. Never waits, and never fails.
Export = Callable[[Sequence[Span]], None]


def no_export(_spans: Sequence[Span]) -> None:
    """Where nobody wants to see them."""


def sample_nothing(_trace_id: str) -> bool:
    """Whether to begin a trace, where nobody wants to see one."""
    return False


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where a process tells its spans, and which traces it begins itself."""

    export: Export = no_export
    samples: Callable[[str], bool] = sample_nothing

    def begin(self, client: TraceContext | None, seed: bytes) -> TraceContext | None:
        """What a request's spans belong to: its client's trace, or one of its own, or none.

        The seed is this request's alone.
        """
        if client is not None:
            return client.child("request", seed)
        made = new_trace(seed)
        return made if self.samples(made.trace_id) else None


UNTRACED = Tracing()


def parse_traceparent(word: str) -> TraceContext | None:
    """What a header says; None for what makes no sense, which starts a new trace."""
    match = _TRACEPARENT.fullmatch(word.strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    is_void = not int(trace_id, 16) or not int(span_id, 16)
    if is_void or version == _INVALID_VERSION or (version == "00" and more):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def new_trace(seed: bytes) -> TraceContext:
    """The trace of somebody who came without one; the seed is his alone."""
    trace_id = _digest(_TRACE_ID_BYTES, "trace", seed)
    return TraceContext(trace_id, _digest(_SPAN_ID_BYTES, "nobody", seed))


def _digest(size: int, *parts: object) -> str:
    digest = blake2b("\0".join(map(repr, parts)).encode(), digest_size=size).hexdigest()
    return digest if int(digest, 16) else f"{1:0{2 * size}x}"  # all zeros means none
