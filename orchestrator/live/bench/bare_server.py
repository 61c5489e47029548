"""The floor under a gateway: uvicorn with nothing in it, streaming as many bytes as often.

    python -m orchestrator.live.bench.bare_server STEP_MS EVENT_BYTES

It reads a body, and says as many events as its JSON's `max_tokens`, with one
clock for all streams. It parses nothing else, asks nobody and counts nothing.
The process prints its port and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvicorn
from starlette.types import Receive, Scope, Send

from orchestrator.gateway.embedded_server import EmbeddedServer, listen

HEADERS = [(b"content-type", b"text/event-stream")]


class BareApp:
    """The ASGI app."""

    def __init__(self, step_s: float, event: bytes) -> None:
        self._step_s = step_s
        self._event = event
        self._next_step = asyncio.Event()

    async def tick(self) -> None:
        """Begin a step, again and again."""
        while True:
            await asyncio.sleep(self._step_s)
            ended, self._next_step = self._next_step, asyncio.Event()
            ended.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        tokens = json.loads(body)["max_tokens"]
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        for left in range(tokens, 0, -1):
            await send({"type": "http.response.body", "body": self._event, "more_body": left > 1})
            if left > 1:
                await self._next_step.wait()


async def serve(step_s: float, event_bytes: int) -> None:
    event = b"data: " + b"x" * event_bytes + b"\n\n"
    app = BareApp(step_s, event)
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    server = EmbeddedServer(config)
    listener = listen("127.0.0.1", 0, backlog=1024)
    ticking = asyncio.create_task(app.tick())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await server.has_started.wait()
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving
    ticking.cancel()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) / 1000, int(sys.argv[2])))
