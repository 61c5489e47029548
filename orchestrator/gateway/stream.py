"""A running request, as its front door follows it: deltas, and where they come from.

Promise: the tokens of a choice arrive with indices 0, 1, 2, ... without a gap
or a repetition, and the iteration ends after the finish of every choice, or
raises. Whoever holds a stream closes it (`async with`): closing an unfinished
one cancels the request at its replica.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from protos.messages import Delta, ReplicaId


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time to the first token went. All in ns; they do not overlap."""

    hash_ns: int  # naming the prompt's blocks
    locate_ns: int  # asking the registry who holds them
    queue_ns: int  # waiting in the gateway for room, failed attempts included
    first_delta_ns: int  # from the submission that succeeded to its first delta


class Stream:
    """The deltas of one request. Iterate once; close always."""

    replica_id: ReplicaId
    hit_tokens: int  # prompt tokens whose KV the replica found
    attempts: int  # replicas tried, the one that answered included
    timing: Timing

    def __aiter__(self) -> AsyncIterator[Delta]:
        """All deltas, the first included. Raises ReplicaFailed when the replica is lost."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the request; cancels it at the replica if it is unfinished. Safe to repeat."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
