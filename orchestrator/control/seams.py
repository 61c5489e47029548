"""The seams that lead out of pure code. Each has a live and a simulated end.

`Executor` (replicas.engine.executor) and `PrefixRegistry` (protos.registry)
are the other two. Composition happens in one file per world; everything else
receives what it needs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from enum import Enum
from typing import Protocol

from protos.messages import Delta, Handoff, Refusal, Request, Snapshot


class Clock(Protocol):
    """Time as an argument: the operating system's, or a simulated one."""

    def now_ns(self) -> int: ...

    async def sleep(self, seconds: float) -> None: ...


class LossReason(Enum):
    """How a replica was lost to a request."""

    BROKEN = "broken"  # it died, or the way to it was cut
    SILENT = "silent"  # nothing came for too long: it hangs, or the way to it swallows all
    STOPPED = "stopped"  # it ended in order, before the request did
    UNREACHABLE = "unreachable"  # the link was down before the request was sent
    SLOW_READER = "slow_reader"  # its tokens were not read in time


class ReplicaLost(Exception):
    """The replica or the way to it ended while a request was on it."""

    def __init__(self, reason: LossReason = LossReason.BROKEN) -> None:
        super().__init__(reason.value)
        self.reason = reason


class ReplicaRefused(Exception):
    """The replica did not take the request; nothing was generated."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class ReplicaClient(Protocol):
    """A gateway's one link to one replica at one address.

    It outlives streams that break, and epochs: what it shows is of the epoch
    in which the replica reports.
    """

    def snapshot(self) -> Snapshot | None:
        """The newest report that arrived on this link, None before the first."""
        ...

    def submit(self, request: Request) -> AsyncGenerator[Delta | Handoff, None]:
        """Run the request here; what comes of all its choices, as it comes.

        Ends when every choice has finished or was handed off. Raises
        ReplicaRefused before the first delta, ReplicaLost at any time. Closing
        the iterator early cancels what is left at the replica.
        """
        ...

    def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta | Handoff, None]:
        """Go on with one choice that waits here for a gateway, from token `next_index` on.

        The first delta comes at once and may be empty of tokens; otherwise as
        `submit`. Raises ReplicaRefused (gone) when it is not here. `request` is
        the one that its client made, whatever replica has seen of it.
        """
        ...

    def let_go(self) -> None:
        """This gateway leaves: what is given up from now on is kept for another one.

        Until `close`, which ends the stream, the replica is not told; then it
        keeps what nobody follows for its grace.
        """
        ...

    async def close(self) -> None:
        """End the link and with it every request on it."""
        ...
