"""Run a call and send its answer: the ASGI response of both OpenAI endpoints.

It speaks ASGI itself, because this is what runs for every token. Headers go
out with the first token, so that every refusal before it has its own status;
an error after it can only be an event in the stream. A client that leaves, at
whatever moment, cancels the work at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orchestrator.gateway.ask import Ask
from orchestrator.gateway.batch import Batch, run_all
from orchestrator.gateway.client import Client
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.event_ids import EventIds, LastEvent, Mark
from orchestrator.gateway.generation import Generation
from orchestrator.gateway.http_errors import error_json
from orchestrator.gateway.meter import Meter
from orchestrator.gateway.openai import Call
from orchestrator.gateway.replies import Reply, WholeChoice, to_json, usage
from orchestrator.gateway.service import Gateway
from orchestrator.gateway.sse import DONE, EventWriter, error_event
from protos.messages import ModelCard, RequestClass, RequestId
from protos.trace import TraceContext

# For a model's card and the date of the answer, in seconds since the epoch.
MakeReply = Callable[[ModelCard, int], Reply]


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
        meter: Meter,
        last_event: LastEvent | None = None,
        trace: TraceContext | None = None,
    ) -> None:
        super().__init__()
        self._meter = meter
        self._gateway = gateway
        self._call = call
        self._make_reply = make_reply
        self._asks = _asks(call, request_id, trace)
        self._arrived_ns = arrived_ns
        self._last_event = last_event
        self._created = int(time.time()) if last_event is None else last_event.origin.created

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = Client(receive, send, scope["state"]["send_body"])
        await client.attend(self._stream(client) if self._call.stream else self._whole(client))

    def _run(self) -> AbstractAsyncContextManager[Generation | Batch]:
        resumption = None if self._last_event is None else self._last_event.resumption
        if len(self._asks) == 1:
            (ask,) = self._asks
            return self._gateway.run(
                ask, arrived_ns=self._arrived_ns, resumption=resumption, meter=self._meter
            )
        if resumption is not None:
            raise resumption.mismatch()  # the events of several prompts have no ids
        return run_all(self._gateway, self._asks, arrived_ns=self._arrived_ns, meter=self._meter)

    async def _whole(self, client: Client) -> None:
        choices = [WholeChoice() for _ in range(len(self._asks) * self._call.options.n)]
        async with self._run() as run:
            async for piece in run:
                choices[piece.choice].add(piece)
            reply = self._make_reply(run.card, self._created)
            body = to_json(reply.whole(choices, _usage(run))).encode()
            headers = self._all_headers(run, b"application/json", length=len(body))
        await client.start(HTTPStatus.OK, headers)
        await client.send(body, more=False)

    async def _stream(self, client: Client) -> None:
        is_started = False  # the status is out; what follows can only be events
        try:
            async with self._run() as run:
                events = self._event_writer(run)
                is_started = True
                await client.start(HTTPStatus.OK, self._all_headers(run, b"text/event-stream"))
                async for piece in run:
                    event = events.piece(piece)
                    if event:
                        await client.send(event, more=True)
                end = b"" if self._has_usage else events.usage(_usage(run))
            end += DONE
        except GatewayError as error:
            if not is_started:
                raise
            end = error_event(error_json(error))
        await client.send(end, more=False)

    def _all_headers(
        self, run: Generation | Batch, content_type: bytes, *, length: int | None = None
    ) -> list[tuple[bytes, bytes]]:
        left = self._meter.headers()
        return [
            *_headers(run, content_type, length=length),
            *((name.encode(), value.encode()) for name, value in left.items()),
        ]

    @property
    def _has_usage(self) -> bool:
        """Whether its client has the usage already, or does not want it."""
        if self._last_event is not None and self._last_event.has_usage:
            return True
        return not self._call.include_usage

    def _event_writer(self, run: Generation | Batch) -> EventWriter:
        reply = self._make_reply(run.card, self._created)
        ids = None
        if isinstance(run, Generation):
            marks = [Mark() for _ in range(self._call.options.n)]
            if self._last_event is not None:
                marks = [replace(mark) for mark in self._last_event.marks]
            ids = EventIds(run.origin(self._created), marks)
        return EventWriter(reply, include_usage=self._call.include_usage, ids=ids)


def _asks(call: Call, request_id: RequestId, trace: TraceContext | None) -> Sequence[Ask]:
    several = len(call.prompts) > 1
    return [
        Ask(
            request_id=RequestId(f"{request_id}-{place}") if several else request_id,
            prompt=prompt,
            options=call.options,
            model=call.model,
            salt=call.salt,
            request_class=call.request_class or RequestClass.INTERACTIVE,
            tenant=call.tenant,
            trace=trace,
        )
        for place, prompt in enumerate(call.prompts)
    ]


def _headers(
    run: Generation | Batch, content_type: bytes, *, length: int | None = None
) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", content_type),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),  # proxies that know it pass events on at once
        (b"x-blockyard-replica", run.replica_id.encode()),
        (b"x-blockyard-hit-tokens", str(run.hit_tokens).encode()),
        (b"x-blockyard-attempts", str(run.attempts).encode()),
    ]
    if isinstance(run, Generation) and run.resumption is not None:
        headers.append((b"x-blockyard-resumed", b"true"))
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return headers


def _usage(run: Generation | Batch) -> dict[str, Any]:
    return usage(
        prompt_tokens=run.prompt_tokens,
        completion_tokens=run.completion_tokens,
        hit_tokens=run.hit_tokens,
    )
