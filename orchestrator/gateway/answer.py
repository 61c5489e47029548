"""Run a call and send its answer: the ASGI response of both OpenAI endpoints.

It speaks ASGI itself, because this is what runs for every token. Headers go
out with the first token, so that every refusal before it has its own status;
an error after it can only be an event in the stream. A client that leaves, at
whatever moment, cancels the work at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orchestrator.gateway.ask import Ask
from orchestrator.gateway.batch import Batch, run_all
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.generation import Generation
from orchestrator.gateway.http_errors import error_json
from orchestrator.gateway.openai import Call
from orchestrator.gateway.replies import Reply, WholeChoice, to_json, usage
from orchestrator.gateway.service import Gateway
from orchestrator.gateway.sse import DONE, EventWriter, error_event
from protos.messages import ModelCard, RequestId

# A client that reads nothing for so long has gone, whatever its connection says.
SEND_TIMEOUT_S = 60.0

MakeReply = Callable[[ModelCard], Reply]


class Answer(Response):
    """Sends the answer to a call. GatewayErrors before the first byte are raised."""

    def __init__(
        self,
        gateway: Gateway,
        call: Call,
        make_reply: MakeReply,
        *,
        request_id: RequestId,
        arrived_ns: int,
    ) -> None:
        super().__init__()
        self._gateway = gateway
        self._call = call
        self._make_reply = make_reply
        self._asks = _asks(call, request_id)
        self._arrived_ns = arrived_ns
        self._is_streaming = False  # the status is out; what follows can only be events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _unless_disconnected(receive, self._serve(send))

    async def _serve(self, send: Send) -> None:
        try:
            async with self._run() as run:
                reply = self._make_reply(run.card)
                if self._call.stream:
                    await self._send_stream(run, reply, send)
                else:
                    await self._send_whole(run, reply, send)
        except GatewayError as error:
            if not self._is_streaming:
                raise
            await _send_body(send, error_event(error_json(error)), more=False)

    def _run(self) -> AbstractAsyncContextManager[Generation | Batch]:
        if len(self._asks) == 1:
            return self._gateway.run(self._asks[0], arrived_ns=self._arrived_ns)
        return run_all(self._gateway, self._asks, arrived_ns=self._arrived_ns)

    async def _send_whole(self, run: Generation | Batch, reply: Reply, send: Send) -> None:
        choices = [WholeChoice() for _ in range(len(self._asks) * self._call.options.n)]
        async for piece in run:
            choices[piece.choice].add(piece)
        body = to_json(reply.whole(choices, _usage(run))).encode()
        await send(_start(run, b"application/json", length=len(body)))
        await _send_body(send, body, more=False)

    async def _send_stream(self, run: Generation | Batch, reply: Reply, send: Send) -> None:
        events = EventWriter(reply, include_usage=self._call.include_usage)
        self._is_streaming = True
        await send(_start(run, b"text/event-stream; charset=utf-8"))
        async for piece in run:
            event = events.piece(piece)
            if event:
                await _send_body(send, event, more=True)
        usage_event = events.usage(_usage(run)) if self._call.include_usage else b""
        await _send_body(send, usage_event + DONE, more=False)


def _asks(call: Call, request_id: RequestId) -> Sequence[Ask]:
    several = len(call.prompts) > 1
    return [
        Ask(
            request_id=RequestId(f"{request_id}-{place}") if several else request_id,
            prompt=prompt,
            options=call.options,
            model=call.model,
            salt=call.salt,
        )
        for place, prompt in enumerate(call.prompts)
    ]


def _start(
    run: Generation | Batch, content_type: bytes, *, length: int | None = None
) -> dict[str, Any]:
    headers = [
        (b"content-type", content_type),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),  # proxies that know it pass events on at once
        (b"x-blockyard-replica", run.replica_id.encode()),
        (b"x-blockyard-hit-tokens", str(run.hit_tokens).encode()),
        (b"x-blockyard-attempts", str(run.attempts).encode()),
    ]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers}


async def _send_body(send: Send, body: bytes, *, more: bool) -> None:
    """Raises TimeoutError when a client stops reading: it may not hold a replica's blocks."""
    async with asyncio.timeout(SEND_TIMEOUT_S):
        await send({"type": "http.response.body", "body": body, "more_body": more})


def _usage(run: Generation | Batch) -> dict[str, Any]:
    return usage(
        prompt_tokens=run.prompt_tokens,
        completion_tokens=run.completion_tokens,
        hit_tokens=run.hit_tokens,
    )


async def _unless_disconnected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and stop it as soon as its client has left."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_until_disconnected(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
