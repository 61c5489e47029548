"""A gateway that lies: it passes on what a real one says, but for one event of each stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto

from aiohttp import ClientSession, web

from orchestrator.live.chaos.loop_thread import LoopThread

EVENT = 5  # of a stream, counted from 1
PASSED_ON = ("x-request-id", "last-event-id", "content-type")
TOLD = ("content-type", "x-blockyard-resumed")


class Lie(Enum):
    """What it does to the stream's fifth event."""

    NONE = auto()
    DROP = auto()
    REPEAT_AFTER_RESUME = auto()  # it breaks off there, and says the last one again to who resumes


@dataclass
class Liar:
    """Listens at `url`."""

    truth: str
    lie: Lie
    url: str = ""
    _last: dict[str, bytes] = field(default_factory=dict)  # by request

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/completions", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.headers["x-request-id"]
        headers = {key: request.headers[key] for key in PASSED_ON if key in request.headers}
        async with (
            ClientSession() as session,
            session.post(
                f"{self.truth}{request.path}", data=await request.read(), headers=headers
            ) as true,
        ):
            said = {key: true.headers[key] for key in TOLD if key in true.headers}
            response = web.StreamResponse(status=true.status, headers=said)
            await response.prepare(request)
            if name in self._last:
                await response.write(self._last[name])
            number = 0
            while event := await true.content.readuntil(b"\n\n"):
                number += 1
                if self.lie is Lie.DROP and number == EVENT:
                    continue
                await response.write(event)
                if self._breaks(name, number):
                    self._last[name] = event
                    assert request.transport is not None
                    request.transport.abort()
                    break
            return response

    def _breaks(self, name: str, number: int) -> bool:
        """Once for each request."""
        return self.lie is Lie.REPEAT_AFTER_RESUME and number == EVENT and name not in self._last


@contextmanager
def lying(truth: str, lie: Lie) -> Iterator[Liar]:
    """A liar before the gateway at `truth`."""
    liar = Liar(truth, lie)
    with LoopThread("liar") as loop:
        runner = loop.run(liar.start())
        try:
            yield liar
        finally:
            loop.run(runner.cleanup())
