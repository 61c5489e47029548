"""One client: sends its request, reads the answer to the end, notes what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.control.seams import Clock
from orchestrator.gateway.dispatch import Dispatch, Stream
from orchestrator.gateway.errors import GatewayError
from orchestrator.sim.hosts import GatewayHost
from orchestrator.workload.traffic import Arrival
from protos.messages import FinishReason, ReplicaId, Request


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that ran to its end."""

    number: int
    tag: str
    replica_id: ReplicaId
    attempts: int
    arrival_ns: int
    first_ns: int  # when its first token arrived
    last_ns: int
    prompt_tokens: int
    hit_tokens: int
    tokens: tuple[int, ...]
    finish: FinishReason


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that got an error instead of (the rest of) its answer."""

    number: int
    tag: str
    arrival_ns: int
    ended_ns: int
    code: str  # the error's stable word


Outcome = Answered | Refused


class PlainClients:
    """Each asks one gateway, and believes what it is told."""

    async def ask(
        self, gateways: Sequence[GatewayHost], clock: Clock, arrival: Arrival, request: Request
    ) -> Outcome:
        life = gateways[arrival.number % len(gateways)].life
        assert life is not None, "nothing dies where clients are plain"
        return await ask(life.dispatch, request, clock, number=arrival.number, tag=arrival.tag)


async def ask(
    dispatch: Dispatch, request: Request, clock: Clock, *, number: int, tag: str
) -> Outcome:
    """Send the request now and follow it to its end."""
    arrival_ns = clock.now_ns()
    try:
        async with await dispatch.start(request) as stream:
            first_ns = clock.now_ns()
            tokens, finish = await read(stream)
    except GatewayError as error:
        return Refused(number, tag, arrival_ns, clock.now_ns(), error.code)
    return Answered(
        number=number,
        tag=tag,
        replica_id=stream.replica_id,
        attempts=stream.attempts,
        arrival_ns=arrival_ns,
        first_ns=first_ns,
        last_ns=clock.now_ns(),
        prompt_tokens=len(request.prompt),
        hit_tokens=stream.hit_tokens,
        tokens=tokens,
        finish=finish,
    )


async def read(stream: Stream) -> tuple[tuple[int, ...], FinishReason]:
    """All tokens of the one choice, and why it ended."""
    tokens: list[int] = []
    finish: FinishReason | None = None
    async for delta in stream:
        tokens.extend([sampled.token for sampled in delta.tokens])
        finish = delta.finish
    assert finish is not None, "a stream ends after the finish of its choice"
    return tuple(tokens), finish
