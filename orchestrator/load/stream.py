"""Ask one request over HTTP and listen to its answer, to whatever end it comes.

With `resume`, a connection that breaks is not the end: the same request goes
to the next url with the id of the last complete event (`Last-Event-ID`), or
anew when nothing was heard, under the same `X-Request-Id`. Tries are bounded
in number and by the request's deadline. Nothing is heard twice: what was not
complete was not heard, and what was is named to the server.

Every path ends: connecting has a bound of its own and, where there is a way
to go on, so has silence; the deadline holds for all of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO

import aiohttp

from orchestrator.load.ask import Ask, Clock
from orchestrator.load.events import EventReader, NotEvents
from orchestrator.load.hearing import Hearing, error_code
from orchestrator.load.wire import Access, Wire, failure_code, open_wire
from orchestrator.workload.heard import End, Heard

# What a server in trouble answers; it may take a resumed stream later, or another one may.
RETRIED = frozenset({429, 500, 502, 503, 504})
STOPPING = "gateway_stopping"  # its streams go on at another one, where there is one
PAUSE_S_MAX = 1.0
# Who does not know Last-Event-ID begins anew, and would be heard twice.
RESUMED = "x-blockyard-resumed"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client waits for what, before it tries the next url.

    In its second round of all urls it bears twice as much silence, then four times as much: a
    server that is only slow is not asked for the same again and again.
    """

    connect_s: float = 5.0
    # Without a byte, for who may go on elsewhere; a request that waits in line is silent, too.
    first_s: float = 60.0
    silence_s: float = 15.0
    tries: int = 20  # connections for one request


@dataclass(frozen=True, slots=True)
class Closing:
    """How one connection ended."""

    end: End
    code: str = ""
    status: int = 0
    is_worth_another: bool = False  # a stream may go on elsewhere


async def listen(
    urls: Sequence[str],
    ask: Ask,
    clock: Clock,
    *,
    resume: bool,
    wire: Wire | None = None,
    access: Access | None = None,
    patience: Patience | None = None,
) -> Heard:
    """Ask at the first url, and go on at the next ones. Raises nothing but cancellation."""
    if wire is None:
        async with open_wire(access) as own:
            return await listen(urls, ask, clock, resume=resume, wire=own, patience=patience)
    listener = Listener(urls, ask, clock, wire, patience or Patience(), resume=resume)
    return await listener.listen()


class Listener:
    """One request's client."""

    def __init__(
        self,
        urls: Sequence[str],
        ask: Ask,
        clock: Clock,
        wire: Wire,
        patience: Patience,
        *,
        resume: bool,
    ) -> None:
        assert urls
        self._urls = urls
        self._ask = ask
        self._clock = clock
        self._session = wire.quick if ask.reads_per_s is None else wire.slow
        self._patience = patience
        self._resume = resume
        # Who reads slowly cannot tell whose silence it is.
        self._may_hurry = resume and ask.reads_per_s is None
        self._content = json.dumps(ask.body).encode()
        self._hearing = Hearing(ask.choices)
        self._connections = 0

    async def listen(self) -> Heard:
        """To the end, which is never later than the deadline."""
        ask = self._ask
        leaves_s = ask.leaves_after_s
        is_leaving = leaves_s is not None and leaves_s < ask.deadline_s
        bound_s = ask.due_s + (leaves_s if leaves_s is not None and is_leaving else ask.deadline_s)
        sent_s = self._clock()
        try:
            async with asyncio.timeout(bound_s - sent_s):
                closing = await self._connect_until_told()
        except TimeoutError:
            closing = Closing(End.LEFT) if is_leaving else Closing(End.UNANSWERED, "deadline")
        return self._heard(closing, sent_s)

    def _heard(self, closing: Closing, sent_s: float) -> Heard:
        ask, hearing = self._ask, self._hearing
        return Heard(
            number=ask.number,
            tag=ask.tag,
            request_class=ask.request_class,
            due_s=ask.due_s,
            sent_s=sent_s,
            ended_s=self._clock(),
            end=closing.end,
            code=closing.code,
            status=closing.status,
            first_s=hearing.first_s,
            last_s=hearing.last_s,
            gap_s=max(hearing.gaps_s, default=0.0),
            gaps_s=tuple(hearing.gaps_s),
            tokens=hearing.tokens,
            prompt_tokens=hearing.prompt_tokens,
            hit_tokens=hearing.hit_tokens,
            connections=self._connections,
            said=hearing.said,
        )

    async def _connect_until_told(self) -> Closing:
        """Connection after connection, until one brings an end."""
        while True:
            rounds, turn = divmod(self._connections, len(self._urls))
            closing = await self._one_connection(self._urls[turn], patience_times=2**rounds)
            if not self._may_go_on(closing):
                return closing
            rounds = self._connections // len(self._urls)
            if rounds:  # everybody was asked once: it is no use to hurry
                await asyncio.sleep(min(PAUSE_S_MAX, 0.05 * 2**rounds))

    def _may_go_on(self, closing: Closing) -> bool:
        if not (self._resume and closing.is_worth_another):
            return False
        has_the_way = self._hearing.first_s is None or bool(self._hearing.last_event_id)
        return has_the_way and self._connections < self._patience.tries

    async def _one_connection(self, url: str, *, patience_times: int) -> Closing:
        self._connections += 1
        self._hearing.error_code = ""
        first_s = self._patience.first_s * patience_times if self._may_hurry else None
        silence_s = self._patience.silence_s * patience_times if self._may_hurry else None
        try:
            async with (
                asyncio.timeout(first_s) as silence,
                self._session.post(
                    f"{url}{self._ask.path}",
                    data=BytesIO(self._content),
                    headers=self._headers(),
                    timeout=aiohttp.ClientTimeout(sock_connect=self._patience.connect_s),
                ) as response,
            ):
                if response.status != HTTPStatus.OK:
                    return self._refusal(response.status, await response.read())
                if self._hearing.last_event_id and RESUMED not in response.headers:
                    return Closing(End.BROKEN, "not_resumed", response.status)
                return await self._hear(response.content, silence, silence_s)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return self._lost(failure_code(error))

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "X-Request-Id": self._ask.request_id}
        if self._ask.request_class:
            headers["X-Request-Class"] = self._ask.request_class
        if self._hearing.last_event_id:
            headers["Last-Event-ID"] = self._hearing.last_event_id
        return headers

    def _refusal(self, status: int, content: bytes) -> Closing:
        """An answer that is none. Once there were tokens it only says why they end."""
        try:
            code = error_code(json.loads(content), status)
        except ValueError:
            code = ""
        is_retried = status in RETRIED
        if self._hearing.first_s is not None:
            return Closing(End.BROKEN, code or f"http_{status}", status, is_retried)
        if code:
            return Closing(End.REFUSED, code, status, code == STOPPING)
        return Closing(End.UNANSWERED, f"http_{status}", status, is_retried)

    async def _hear(
        self, content: aiohttp.StreamReader, silence: asyncio.Timeout, silence_s: float | None
    ) -> Closing:
        """A stream of events, to its end."""
        reader, hearing = EventReader(self._hearing.last_event_id), self._hearing
        loop = asyncio.get_running_loop()
        pause_s = 0.0 if self._ask.reads_per_s is None else 1 / self._ask.reads_per_s
        try:
            async for chunk in content.iter_any():
                now_s = self._clock()
                if silence_s is not None:
                    silence.reschedule(loop.time() + silence_s)
                for event in reader.feed(chunk):
                    hearing.take(event, now_s)
                    if hearing.is_done or hearing.error_code:
                        return self._told()
                    if pause_s:
                        await asyncio.sleep(pause_s)
                        now_s = self._clock()
        except NotEvents:
            return self._lost("not_events")
        return self._lost("cut_short")

    def _told(self) -> Closing:
        """The server has ended its stream."""
        hearing = self._hearing
        if hearing.error_code:
            end = End.REFUSED if hearing.first_s is None else End.BROKEN
            return Closing(end, hearing.error_code, 200, hearing.error_code == STOPPING)
        if not hearing.is_whole:
            return Closing(End.BROKEN, "no_finish_reason", 200)
        return Closing(End.ANSWERED, status=200)

    def _lost(self, code: str) -> Closing:
        """The connection is gone, and nobody said why."""
        was_begun = self._hearing.first_s is not None or code in ("cut_short", "not_events")
        end = End.BROKEN if was_begun else End.UNANSWERED
        return Closing(end, code, is_worth_another=True)
