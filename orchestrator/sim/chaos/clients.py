"""Clients that write down what they hear, and go on at another gateway when theirs dies.

A client trusts what it is told: tokens are appended as they come, and judged
later by whoever knows what they should be. When its gateway is lost it asks
the next one: to take over, if it has heard something, else from the start.
What is said again then must be what it was. A token that was said in two ways
is heard as none that there is: whichever was right, a difference shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.chaos.demand import Due
from orchestrator.gateway.dispatch import Dispatch
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http_errors import STATUS
from orchestrator.gateway.stream import Stream
from orchestrator.sim.client import Outcome, Refused
from orchestrator.sim.clock import VirtualClock
from orchestrator.sim.hosts import GatewayHost, GatewayLife
from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.heard import End, Heard
from orchestrator.workload.tokens import VOCAB_SIZE
from orchestrator.workload.traffic import Arrival
from protos.messages import Delta, Request

NO_GATEWAY_WAIT_S = 0.1
TOKENS_FROM = 0x3400  # the character of token 0: every token is one letter
CONTRADICTION = VOCAB_SIZE  # in place of a token that was said in two ways; no token is it


def spoken(tokens: Sequence[int]) -> str:
    """Tokens as a text of as many characters."""
    return "".join(chr(TOKENS_FROM + token) for token in tokens)


@dataclass(slots=True)
class Hearing:
    """One answer, as far as it came."""

    request: Request
    said: list[list[int]] = field(init=False)
    finished: set[int] = field(default_factory=set)
    first_ns: int | None = None
    last_ns: int | None = None
    gap_ns: int = 0
    hit_tokens: int = 0
    connections: int = 0

    def __post_init__(self) -> None:
        self.said = [[] for _ in range(self.request.choices)]

    def take(self, delta: Delta, brought: list[int], now_ns: int) -> None:
        """`brought`: how many tokens of each choice this stream has brought before."""
        said, start = self.said[delta.choice], brought[delta.choice]
        tokens = [sampled.token for sampled in delta.tokens]
        brought[delta.choice] = stop = start + len(tokens)
        is_news = stop > len(said)
        for at, token in enumerate(tokens[: len(said) - start], start):
            if said[at] != token:
                said[at] = CONTRADICTION
        said += tokens[len(said) - start :]
        if delta.finish is not None:
            self.finished.add(delta.choice)
        if is_news:
            if self.last_ns is None:
                self.first_ns = now_ns
            else:
                self.gap_ns = max(self.gap_ns, now_ns - self.last_ns)
            self.last_ns = now_ns

    @property
    def tokens(self) -> int:
        return sum(map(len, self.said))


class HearingClients:
    """What each heard is in `heard`, by number, when it is over."""

    def __init__(self, dues: Sequence[Due], *, deadline_s: float) -> None:
        self.heard: dict[int, Heard] = {}
        self._dues: Mapping[int, Due] = {due.number: due for due in dues}
        self._deadline_s = deadline_s

    async def ask(
        self,
        gateways: Sequence[GatewayHost],
        clock: VirtualClock,
        arrival: Arrival,
        request: Request,
    ) -> Outcome:
        due = self._dues[arrival.number]
        asked_ns = clock.now_ns()
        began_ns = asked_ns - arrival.arrival_ns
        hearing = Hearing(request)
        end, error = await self._listen(gateways, clock, due, hearing)
        self.heard[due.number] = heard_of(due, hearing, end, error, began_ns, clock.now_ns())
        code = end.value if error is None else error.code
        return Refused(arrival.number, arrival.tag, asked_ns, clock.now_ns(), code)

    async def _listen(
        self,
        gateways: Sequence[GatewayHost],
        clock: VirtualClock,
        due: Due,
        hearing: Hearing,
    ) -> tuple[End, GatewayError | None]:
        leaves_s = due.leaves_after_s
        leaves = leaves_s is not None and leaves_s < self._deadline_s
        try:
            async with asyncio.timeout(leaves_s if leaves else self._deadline_s):
                await insist(gateways, clock, due, hearing)
        except TimeoutError:
            return (End.LEFT if leaves else End.UNANSWERED), None
        except GatewayError as error:
            return (End.REFUSED if hearing.first_ns is None else End.BROKEN), error
        is_whole = len(hearing.finished) == hearing.request.choices
        return (End.ANSWERED if is_whole else End.BROKEN), None


async def insist(
    gateways: Sequence[GatewayHost], clock: VirtualClock, due: Due, hearing: Hearing
) -> None:
    """Ask one gateway after another until one lives long enough to answer."""
    while True:
        host = gateways[(due.number + hearing.connections) % len(gateways)]
        if host.life is None:
            host = next((other for other in gateways if other.life is not None), host)
        life = host.life
        is_resumption = hearing.first_ns is not None
        if life is None or (is_resumption and life.dispatch.card() is None):
            await clock.sleep(NO_GATEWAY_WAIT_S)
            continue
        hearing.connections += 1
        if await life.handle(follow(host, life, clock, due, hearing)):
            return


async def follow(
    host: GatewayHost, life: GatewayLife, clock: VirtualClock, due: Due, hearing: Hearing
) -> None:
    """One stream at one gateway, to its end."""
    await host.awake.wait()
    brought = [0] * hearing.request.choices
    async with await opened(life.dispatch, hearing) as stream:
        hearing.hit_tokens = hearing.hit_tokens or stream.hit_tokens
        async for delta in stream:
            await host.awake.wait()
            hearing.take(delta, brought, clock.now_ns())
            if due.reads_per_s is not None:
                await clock.sleep(len(delta.tokens) / due.reads_per_s)


async def opened(dispatch: Dispatch, hearing: Hearing) -> Stream:
    if hearing.first_ns is None:
        return await dispatch.start(hearing.request)
    card = dispatch.card()
    assert card is not None, "it was there when the gateway was chosen"
    return await dispatch.take_over(hearing.request, card, finished=frozenset(hearing.finished))


def heard_of_none(due: Due) -> Heard:
    """Of a request whose world ended before it did."""
    return Heard(
        number=due.number,
        tag=due.arrival.tag,
        request_class=due.arrival.request_class.value,
        due_s=due.due_s,
        sent_s=due.due_s,
        ended_s=due.due_s,
        end=End.UNANSWERED,
        code="world_ended",
    )


def heard_of(
    due: Due,
    hearing: Hearing,
    end: End,
    error: GatewayError | None,
    began_ns: int,
    now_ns: int,
) -> Heard:
    """The client's record; `began_ns` is the run's."""

    def seconds(at_ns: int | None) -> float | None:
        return None if at_ns is None else (at_ns - began_ns) / NS_PER_S

    return Heard(
        number=due.number,
        tag=due.arrival.tag,
        request_class=due.arrival.request_class.value,
        due_s=due.due_s,
        sent_s=due.due_s,
        ended_s=(now_ns - began_ns) / NS_PER_S,
        end=end,
        code="" if error is None else error.code,
        status=200 if error is None else STATUS[type(error)].value,
        first_s=seconds(hearing.first_ns),
        last_s=seconds(hearing.last_ns),
        gap_s=hearing.gap_ns / NS_PER_S,
        tokens=hearing.tokens,
        prompt_tokens=len(hearing.request.prompt),
        hit_tokens=hearing.hit_tokens,
        connections=max(1, hearing.connections),
        said=tuple(map(spoken, hearing.said)),
    )
