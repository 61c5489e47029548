"""One attached gateway: the choices that it follows, and a bounded outbox.

Filled by `Links`, emptied by its transport. A gateway that does not read is
not waited for: whoever finds the outbox full breaks the link off.

A ticket is one choice of one request, from its submission until its end has
been told. It outlives the link that it came on, and then belongs to none until
another link follows it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum

from protos.messages import (
    Delta,
    FinishReason,
    Request,
    RequestId,
    SampledToken,
    SequenceId,
    StepEvents,
)
from replicas.shell.stint import Stint


class LinkFault(Enum):
    """Why a link broke. The value is what its gateway is told."""

    SLOW = "the gateway does not read its tokens; its requests were cancelled"
    MALFORMED = "a message that is no submission, cancellation or claim"
    UNHEALTHY = "the replica failed"


class LinkBroken(Exception):
    """The link cannot go on."""

    def __init__(self, fault: LinkFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


@dataclass(slots=True, eq=False)
class Ticket:
    """One choice of one request: who follows it and all that it has said."""

    inner: RequestId  # its submission's name inside the engine
    request: Request  # as it was submitted, under its client's id
    choice: int
    mates: range  # the choices that one cancellation ends together with it
    said: list[SampledToken]  # its whole output, as its client was or will be told
    stint: Stint
    link: GatewayLink | None = None  # who follows it; None: parked
    hit_tokens: int = 0
    finish: FinishReason | None = None

    @property
    def request_id(self) -> RequestId:
        return self.request.request_id

    @property
    def sequence_id(self) -> SequenceId:
        return SequenceId(f"{self.inner}/{self.choice}")

    def add(self, delta: Delta, now_ns: int) -> Delta:
        """What a step added to it, as its client is told."""
        assert delta.first_index == len(self.said), "a token is missing or came twice"
        assert self.finish is None, "it has finished before"
        self.said.extend(delta.tokens)
        self.hit_tokens = delta.hit_tokens
        self.finish = delta.finish
        is_first = self.stint.speak(now_ns)
        if delta.finish is not None:
            self.stint.end(now_ns)
        tells_account = is_first or delta.finish is not None
        # Not `replace`, which takes several times as long: this is every token's way.
        return Delta(
            self.request.request_id,
            delta.choice,
            delta.first_index,
            delta.tokens,
            delta.finish,
            delta.hit_tokens,
            self.stint.account(now_ns) if tells_account else None,
        )

    def since(self, index: int, now_ns: int) -> Delta:
        """All from token `index` on, as one delta; it may be empty of tokens."""
        return Delta(
            request_id=self.request_id,
            choice=self.choice,
            first_index=index,
            tokens=tuple(self.said[index:]),
            finish=self.finish,
            hit_tokens=self.hit_tokens,
            account=self.stint.account(now_ns),
        )


class GatewayLink:
    """One attached gateway."""

    def __init__(self, messages_max: int) -> None:
        self._tickets: dict[RequestId, dict[int, Ticket]] = {}  # by the gateway's own ids
        # The end mark needs a place even in a full outbox.
        self._outbox: asyncio.Queue[StepEvents | None] = asyncio.Queue(messages_max + 1)
        self._messages_max = messages_max
        self._fault: LinkFault | None = None
        self._broken = asyncio.Event()

    # ---- what it follows

    def tickets(self) -> tuple[Ticket, ...]:
        return tuple(ticket for choices in self._tickets.values() for ticket in choices.values())

    def tickets_of(self, request_id: RequestId) -> tuple[Ticket, ...]:
        return tuple(self._tickets.get(request_id, {}).values())

    def ticket(self, request_id: RequestId, choice: int) -> Ticket | None:
        return self._tickets.get(request_id, {}).get(choice)

    def follows_any(self, request_id: RequestId, choices: range) -> bool:
        return any(choice in choices for choice in self._tickets.get(request_id, {}))

    def follow(self, ticket: Ticket) -> None:
        choices = self._tickets.setdefault(ticket.request_id, {})
        assert ticket.choice not in choices, "a link follows one choice once"
        choices[ticket.choice] = ticket
        ticket.link = self

    def let_go(self, ticket: Ticket) -> None:
        choices = self._tickets[ticket.request_id]
        assert choices.pop(ticket.choice) is ticket, "another choice of the same name"
        if not choices:
            del self._tickets[ticket.request_id]
        ticket.link = None

    # ---- what it is told

    @property
    def is_full(self) -> bool:
        return self._outbox.qsize() >= self._messages_max

    @property
    def is_broken(self) -> bool:
        return self._broken.is_set()

    def put(self, events: StepEvents) -> None:
        assert not self.is_full, "a full link is broken, not filled"
        self._outbox.put_nowait(events)

    def finish(self) -> None:
        """Nothing follows what is in the outbox. Called once."""
        self._outbox.put_nowait(None)

    async def get(self) -> StepEvents | None:
        """The next message; None after the last one."""
        return await self._outbox.get()

    def break_off(self, fault: LinkFault) -> None:
        self._fault = self._fault or fault
        self._broken.set()

    async def broken(self) -> None:
        """Raises LinkBroken once the link breaks; never returns."""
        await self._broken.wait()
        assert self._fault is not None
        raise LinkBroken(self._fault)
