"""Clients that know what they must get, and go on at another gateway when theirs dies.

Each token is compared as it arrives, also those that are said again after a
gateway was lost. Some clients leave in the middle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.control.seams import Clock
from orchestrator.gateway.errors import GatewayError
from orchestrator.policy.admit import AdmitReason
from orchestrator.sim.client import Answered, Outcome, Refused
from orchestrator.sim.exact_executor import completion
from orchestrator.sim.hosts import GatewayHost, GatewayLife
from orchestrator.workload.traffic import Arrival
from protos.messages import Delta, FinishReason, ReplicaId, Request

LEFT = "client_left"
# Why a request may get no answer at all. Once it has begun nothing may end it.
MAY_BE_SAID = frozenset(
    (
        *(reason.value for reason in AdmitReason),
        "draining",
        "overloaded",
        "replica_lost",  # and nobody else was there to ask
    )
)
NO_GATEWAY_WAIT_S = 0.1
GATEWAYS_MAX = 20  # that may die under one client


@dataclass(slots=True)
class Transcript:
    """What a client has of its answer, held against what it must be."""

    request: Request
    expected: dict[int, tuple[int, ...]] = field(init=False)
    finished: set[int] = field(default_factory=set)
    first_ns: int | None = None

    def __post_init__(self) -> None:
        count = self.request.sampling.tokens_max
        self.expected = {
            choice: completion(self.request, choice=choice, count=count)
            for choice in range(self.request.choices)
        }

    def take(self, delta: Delta, heard: dict[int, int]) -> None:
        """`heard`: how many tokens of each choice this stream has brought."""
        label = f"{delta.request_id}/{delta.choice}"
        assert delta.choice not in self.finished, f"{label}: more after its end"
        start = heard.get(delta.choice, 0)
        assert delta.first_index == start, f"{label}: token {delta.first_index} for {start}"
        tokens = tuple(sampled.token for sampled in delta.tokens)
        stop = start + len(tokens)
        expected = self.expected[delta.choice]
        assert tokens == expected[start:stop], f"{label} got other tokens from {start} on"
        heard[delta.choice] = stop
        if delta.finish is not None:
            assert delta.finish is FinishReason.LENGTH, f"{label} ended with {delta.finish}"
            assert stop == len(expected), f"{label} ended after {stop} of {len(expected)} tokens"
            self.finished.add(delta.choice)

    @property
    def is_complete(self) -> bool:
        return len(self.finished) == self.request.choices


class StubbornClients:
    """`leaves`: who goes away, by number, and after how many seconds."""

    def __init__(self, leaves: Mapping[int, float]) -> None:
        self._leaves = leaves

    async def ask(
        self, gateways: Sequence[GatewayHost], clock: Clock, arrival: Arrival, request: Request
    ) -> Outcome:
        arrival_ns = clock.now_ns()
        transcript = Transcript(request)
        try:
            async with asyncio.timeout(self._leaves.get(arrival.number)):
                tries = await self._insist(gateways, clock, arrival.number, transcript)
        except TimeoutError:
            return Refused(arrival.number, arrival.tag, arrival_ns, clock.now_ns(), LEFT)
        except GatewayError as error:
            assert error.code in MAY_BE_SAID, f"{request.request_id} ended with {error.code}"
            assert transcript.first_ns is None, f"{request.request_id} was cut: {error.code}"
            return Refused(arrival.number, arrival.tag, arrival_ns, clock.now_ns(), error.code)
        assert transcript.is_complete and transcript.first_ns is not None, "an answer has an end"
        return Answered(
            number=arrival.number,
            tag=arrival.tag,
            replica_id=ReplicaId(""),
            attempts=tries,
            arrival_ns=arrival_ns,
            first_ns=transcript.first_ns,
            last_ns=clock.now_ns(),
            prompt_tokens=len(request.prompt),
            hit_tokens=0,
            tokens=transcript.expected[0],
            finish=FinishReason.LENGTH,
        )

    async def _insist(
        self, gateways: Sequence[GatewayHost], clock: Clock, number: int, transcript: Transcript
    ) -> int:
        """Ask until a gateway lives long enough to answer; how many were asked."""
        asked = 0
        while asked < GATEWAYS_MAX:
            life = next_alive(gateways, number + asked)
            if life is None or (asked and life.dispatch.card() is None):
                await clock.sleep(NO_GATEWAY_WAIT_S)
                continue
            asked += 1
            if await life.handle(follow(life, clock, transcript, is_first=asked == 1)):
                return asked
        raise AssertionError("gateways died too often for a client to go on")


async def follow(
    life: GatewayLife, clock: Clock, transcript: Transcript, *, is_first: bool
) -> None:
    """One stream at one gateway, to its end."""
    dispatch, request = life.dispatch, transcript.request
    if is_first:
        opening = dispatch.start(request)
    else:
        card = dispatch.card()
        assert card is not None, "it was there when the gateway was chosen"
        opening = dispatch.take_over(request, card, finished=frozenset(transcript.finished))
    heard: dict[int, int] = {}
    async with await opening as stream:
        async for delta in stream:
            if transcript.first_ns is None:
                transcript.first_ns = clock.now_ns()
            transcript.take(delta, heard)


def next_alive(gateways: Sequence[GatewayHost], turn: int) -> GatewayLife | None:
    """The first that lives, from the one whose turn it is on."""
    for offset in range(len(gateways)):
        life = gateways[(turn + offset) % len(gateways)].life
        if life is not None:
            return life
    return None
