"""A running request, as its front door follows it: deltas, and where they come from.

Promise: the tokens of a choice arrive with indices 0, 1, 2, ... without a gap
or a repetition, however many replicas they come from, and the iteration ends
after the finish of every choice, or raises. Whoever holds a stream closes it
(`async with`): closing an unfinished one cancels the request wherever it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from orchestrator.gateway.errors import GatewayError, ReplicaFailed
from orchestrator.gateway.totals import Totals
from protos.messages import Delta, ReplicaId, Request


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time to the first token went. All in ns; but for the last they do not overlap."""

    hash_ns: int  # naming the prompt's blocks
    locate_ns: int  # asking the registry who holds them
    queue_ns: int  # waiting in the gateway for room, failed attempts included
    first_delta_ns: int  # from the submission that succeeded to its first delta
    replica_queue_ns: int = 0  # of which it waited at the replica


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """How the first of a request's choices to be answered got there."""

    replica_id: ReplicaId
    attempts: int  # replicas asked, the one that answered included
    timing: Timing


# Where nothing was left to ask for.
NOWHERE = FirstAnswer(ReplicaId(""), 0, Timing(0, 0, 0, 0))


class BrokenStream(Exception):
    """A replica's deltas do not add up. The message says how."""


class Continuity:
    """Follows one request's deltas and vouches that nothing is missing or repeated."""

    def __init__(self, choices: int, *, finished: frozenset[int] = frozenset()) -> None:
        """Of the choices that are `finished` nothing may come."""
        self._next_index = [0] * choices
        self._unfinished = set(range(choices)) - finished

    @property
    def is_complete(self) -> bool:
        """Whether every choice has finished."""
        return not self._unfinished

    def take(self, delta: Delta) -> None:
        """Raises BrokenStream unless this is what must come next."""
        if delta.choice not in self._unfinished:
            raise BrokenStream(f"choice {delta.choice} is unknown or has finished")
        expected = self._next_index[delta.choice]
        if delta.first_index != expected:
            raise BrokenStream(f"token {delta.first_index} where {expected} is due")
        self._next_index[delta.choice] += len(delta.tokens)
        if delta.finish is not None:
            self._unfinished.remove(delta.choice)


class Stream:
    """The deltas of one request. Iterate once; close always."""

    def __init__(
        self,
        request: Request,
        first: Delta | None,
        source: AsyncGenerator[Delta, None],
        answer: FirstAnswer | None,
        totals: Totals,
        *,
        finished: frozenset[int] = frozenset(),
    ) -> None:
        answer = answer or NOWHERE
        self.replica_id = answer.replica_id  # the first one that answered
        self.hit_tokens = first.hit_tokens if first else 0  # prompt tokens whose KV it found
        self.attempts = answer.attempts
        self.timing = answer.timing
        self._source = source
        self._first = first
        self._continuity = Continuity(request.choices, finished=finished)
        self._totals = totals

    def __aiter__(self) -> Self:
        """All deltas, the first included. Raises ReplicaFailed or PoisonRequest."""
        return self

    async def __anext__(self) -> Delta:
        if self._continuity.is_complete:
            await self.close()
            raise StopAsyncIteration
        try:
            delta, self._first = self._first, None
            if delta is None:
                delta = await anext(self._source, None)
            if delta is None:
                raise BrokenStream("the stream ended before its choices did")
            self._continuity.take(delta)
        except GatewayError:
            self._totals.streams_lost += 1
            raise
        except BrokenStream as error:
            self._totals.streams_broken += 1
            await self.close()
            raise ReplicaFailed(
                "the replica's answer is incomplete", code="stream_broken"
            ) from error
        return delta

    async def close(self) -> None:
        """End the request; cancels it at the replica if it is unfinished. Safe to repeat."""
        await self._source.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
