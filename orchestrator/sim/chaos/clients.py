"""Clients that write down what they hear, and go on at another gateway when theirs dies.

A client trusts what it is told: tokens are appended as they come, and judged
later by whoever knows what they should be. When its gateway is lost, or silent
for longer than it bears, it asks the next one: to take over, if it has heard
something, else from the start.
What is said again then must be what it was. A token that was said in two ways
is heard as none that there is: whichever was right, a difference shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.chaos.demand import Due
from orchestrator.chaos.faults import CLIENTS
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http_errors import STATUS
from orchestrator.sim.chaos.connection import Answering, Asked, Connection, Ended, Lost, Opened
from orchestrator.sim.client import Outcome, Refused
from orchestrator.sim.clock import VirtualClock
from orchestrator.sim.hosts import GatewayHost
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

    def __init__(self, dues: Sequence[Due], *, deadline_s: float, patience_s: float | None) -> None:
        self.heard: dict[int, Heard] = {}
        self._dues: Mapping[int, Due] = {due.number: due for due in dues}
        self._deadline_s = deadline_s
        self._patience_s = patience_s

    async def ask(
        self,
        gateways: Sequence[GatewayHost],
        clock: VirtualClock,
        arrival: Arrival,
        request: Request,
    ) -> Outcome:
        """Returns when its gateways, too, have learned that it is over."""
        due = self._dues[arrival.number]
        asked_ns = clock.now_ns()
        began_ns = asked_ns - arrival.arrival_ns
        hearing = Hearing(request)
        async with asyncio.TaskGroup() as tasks:
            client = Client(gateways, clock, tasks, due, hearing, self._patience_s)
            end, error = await self._listen(client, due, hearing)
            ended_ns = clock.now_ns()
        self.heard[due.number] = heard_of(due, hearing, end, error, began_ns, ended_ns)
        code = end.value if error is None else error.code
        return Refused(arrival.number, arrival.tag, asked_ns, ended_ns, code)

    async def _listen(
        self, client: Client, due: Due, hearing: Hearing
    ) -> tuple[End, GatewayError | None]:
        leaves_s = due.leaves_after_s
        leaves = leaves_s is not None and leaves_s < self._deadline_s
        try:
            async with asyncio.timeout(leaves_s if leaves else self._deadline_s):
                await client.insist()
        except TimeoutError:
            return (End.LEFT if leaves else End.UNANSWERED), None
        except GatewayError as error:
            return (End.REFUSED if hearing.first_ns is None else End.BROKEN), error
        is_whole = len(hearing.finished) == hearing.request.choices
        return (End.ANSWERED if is_whole else End.BROKEN), None


@dataclass(slots=True)
class Client:
    """One request's; `patience_s` is the silence after which it asks the next gateway."""

    gateways: Sequence[GatewayHost]
    clock: VirtualClock
    tasks: asyncio.TaskGroup
    due: Due
    hearing: Hearing
    patience_s: float | None

    async def insist(self) -> None:
        """Ask one gateway after another until one lives long enough to answer."""
        hearing = self.hearing
        while True:
            turn = self.due.number + hearing.connections
            host = self.gateways[turn % len(self.gateways)]
            if host.life is None:
                host = next((other for other in self.gateways if other.life is not None), host)
            is_resumption = hearing.first_ns is not None
            if host.life is None or (is_resumption and host.life.dispatch.card() is None):
                await self.clock.sleep(NO_GATEWAY_WAIT_S)
                continue
            hearing.connections += 1
            try:
                async with asyncio.timeout(self._bears_s()) as silence:
                    if await self._follow(host, silence):
                        return
            except TimeoutError:
                continue

    def _bears_s(self) -> float | None:
        """Of silence: twice as much in each further round of all gateways."""
        if self.patience_s is None or self.due.reads_per_s is not None:
            return None
        return float(self.patience_s * 2 ** ((self.hearing.connections - 1) // len(self.gateways)))

    async def _follow(self, host: GatewayHost, silence: asyncio.Timeout) -> bool:
        """One connection with one gateway; False where it broke."""
        while host.network.is_parted(CLIENTS, host.name):
            await self.clock.sleep(NO_GATEWAY_WAIT_S)
        if host.life is None:
            return False
        hearing = self.hearing
        heard = None if hearing.first_ns is None else frozenset(hearing.finished)
        answering = Answering(host.life, self.clock, self.tasks)
        connection = Connection(host.network, host.name, answering)
        connection.ask(Asked(hearing.request, heard, self.due.reads_per_s))
        try:
            return await self._hear(connection, silence)
        finally:
            connection.close()

    async def _hear(self, connection: Connection, silence: asyncio.Timeout) -> bool:
        hearing, brought = self.hearing, [0] * self.hearing.request.choices
        loop, bears_s = asyncio.get_running_loop(), self._bears_s()
        while True:
            match await connection.told():
                case Opened(hit_tokens):
                    hearing.hit_tokens = hearing.hit_tokens or hit_tokens
                case Ended(error):
                    if error is not None:
                        raise error
                    return True
                case Lost():
                    return False
                case delta:
                    hearing.take(delta, brought, self.clock.now_ns())
            if bears_s is not None:
                silence.reschedule(loop.time() + bears_s)


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
