"""A choice's time at one replica: when it came, ran, spoke and left.

Written by whoever turns the engine; told to its gateway as an Account, and to
whoever traces it as spans. A choice that came with its KV was never in the
queue here, and what it computes first is a token like any other.

Bound: the moments that are remembered; they are counted all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protos.messages import Account
from replicas.engine.marks import Work

MOMENTS_MAX = 32  # a long prompt's chunks and a few preemptions


@dataclass(slots=True)
class Stint:
    """Times are those of the loop's clock."""

    came_ns: int
    admitted_ns: int | None = None
    spoke_ns: int | None = None  # its first token here
    ended_ns: int | None = None
    chunks: int = 0
    preemptions: int = 0
    moments: list[tuple[int, str]] = field(default_factory=list)

    def mark(self, work: Work, at_ns: int) -> bool:
        """A step that begins does this to it; whether it waited for that until now."""
        begins = work is Work.ADMITTED and self.admitted_ns is None
        match work:
            case Work.ADMITTED:
                self.chunks += 1
                if begins:
                    self.admitted_ns = at_ns
            case Work.CHUNK:
                self.chunks += 1
            case Work.PREEMPTED:
                self.preemptions += 1
        if len(self.moments) < MOMENTS_MAX:
            self.moments.append((at_ns, work.value))
        return begins

    def speak(self, at_ns: int) -> bool:
        """It has said a token; whether that is its first one here."""
        is_first = self.spoke_ns is None
        if is_first:
            self.spoke_ns = at_ns
        return is_first

    def end(self, at_ns: int) -> None:
        """It has finished or left. Only the first end counts."""
        if self.ended_ns is None:
            self.ended_ns = at_ns

    def bounds(self, now_ns: int) -> tuple[int, int, int]:
        """When it was admitted, decoded and ended: now, where it has not."""
        ended_ns = now_ns if self.ended_ns is None else self.ended_ns
        admitted_ns = ended_ns if self.admitted_ns is None else self.admitted_ns
        spoke_ns = ended_ns if self.spoke_ns is None else self.spoke_ns
        return admitted_ns, spoke_ns if self.chunks else admitted_ns, ended_ns

    def account(self, now_ns: int) -> Account:
        """Where its time went until now, or until its end."""
        admitted_ns, decoding_ns, ended_ns = self.bounds(now_ns)
        return Account(
            queue_ns=admitted_ns - self.came_ns,
            prefill_ns=decoding_ns - admitted_ns,
            decode_ns=ended_ns - decoding_ns,
            chunks=self.chunks,
            preemptions=self.preemptions,
        )

    def stretches(self, now_ns: int) -> tuple[tuple[str, int, int], ...]:
        """What it did from when to when, as far as it got until now, or until its end."""
        admitted_ns, decoding_ns, ended_ns = self.bounds(now_ns)
        if self.admitted_ns is None:
            return (("queue", self.came_ns, ended_ns),)
        if not self.chunks:  # it came with its KV
            return (("decode", admitted_ns, ended_ns),)
        begun = (("queue", self.came_ns, admitted_ns), ("prefill", admitted_ns, decoding_ns))
        return begun if self.spoke_ns is None else (*begun, ("decode", decoding_ns, ended_ns))
