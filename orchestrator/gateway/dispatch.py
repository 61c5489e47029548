"""The request path: hash, locate, admit, route, debit, submit, first delta.

Everything a front door needs to turn a `Request` into a stream of deltas, and
every way in which that can fail as one tree of exceptions (errors.py).
"""

from __future__ import annotations

from orchestrator.gateway.stream import Stream, Timing
from protos.messages import ModelCard, Request

__all__ = ["Dispatch", "Stream", "Timing"]


class Dispatch:
    """Finds the replica on which a request costs least and runs it there."""

    async def start(self, request: Request, *, deadline_ns: int | None = None) -> Stream:
        """Admit, locate, route, submit; returns when the first delta has arrived.

        `deadline_ns` (on the gateway's clock) is when its client stops
        waiting: a request still queued then is shed. Raises Unservable (no
        replica could ever hold it), InvalidRequest (context_length_exceeded,
        ...), Shed, NoReplica or ReplicaFailed. Cancelling the call cancels
        the request wherever it is.
        """
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether some live replica takes work."""
        raise NotImplementedError

    def card(self) -> ModelCard | None:
        """What the live replicas serve; None before any was seen."""
        raise NotImplementedError
