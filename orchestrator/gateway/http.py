"""The HTTP front door: OpenAI's API, probes, metrics.

Translates and nothing else: bodies to Calls, Calls to Answers, errors to
OpenAI's JSON. Bodies are read here rather than by the framework, because a
wrong one is a 400 in OpenAI's form and because a size bound must hold while
reading.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import Response

from orchestrator.gateway.answer import Answer
from orchestrator.gateway.body import read_json
from orchestrator.gateway.caller import Caller
from orchestrator.gateway.errors import NotFound
from orchestrator.gateway.event_ids import HEADER, LastEvent, parse_event_id
from orchestrator.gateway.http_errors import HideBugs, answer_errors_in_json
from orchestrator.gateway.http_keys import CheckKeys
from orchestrator.gateway.keyring import Keys
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.metrics import CONTENT_TYPE
from orchestrator.gateway.openai import (
    Call,
    ChatCompletionBody,
    CompletionBody,
    chat_call,
    completion_call,
)
from orchestrator.gateway.openapi import DescribedApp
from orchestrator.gateway.replies import ChatReply, CompletionReply, Envelope, Reply
from orchestrator.gateway.request_ids import NameRequests, own_request_id
from orchestrator.gateway.sender import with_sender
from orchestrator.gateway.service import Gateway
from protos.messages import ModelCard, RequestId
from protos.trace import TRACEPARENT, parse_traceparent

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


def create_app(gateway: Gateway, keys: Keys) -> FastAPI:
    """The ASGI app over one gateway."""
    app = DescribedApp(needs_key=keys.keyring is not None)
    answer_errors_in_json(app)
    app.add_middleware(CheckKeys, keys=keys)
    app.add_middleware(HideBugs)
    app.add_middleware(NameRequests)  # the outermost: whatever is answered has a name
    _add_completions(app, gateway, keys.limits)
    _add_models(app, gateway)
    _add_decisions(app, gateway)
    _add_probes(app, gateway)
    return app


class WholeRoute(APIRoute):
    """Of an endpoint that takes a request as it is and gives the whole response."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """The endpoint itself, with nothing to look for, to fill in or to convert."""
        return self.endpoint


def _add_completions(app: FastAPI, gateway: Gateway, limits: RateLimits) -> None:
    async def chat_completions(request: Request) -> Response:
        return await _answer(request, gateway, limits, chat_call, ChatReply, prefix="chatcmpl")

    async def completions(request: Request) -> Response:
        return await _answer(
            request, gateway, limits, completion_call, CompletionReply, prefix="cmpl"
        )

    for path, endpoint, body in (
        (CHAT, chat_completions, ChatCompletionBody),
        (COMPLETIONS, completions, CompletionBody),
    ):
        app.router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            openapi_extra=_body_of(path, body),
            route_class_override=WholeRoute,
        )


def _add_models(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        card = gateway.card()
        return {"object": "list", "data": [] if card is None else [_model(card)]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        card = gateway.card()
        if card is None or card.name != name:
            raise NotFound(
                f"there is no model {name!r} here", code="model_not_found", param="model"
            )
        return _model(card)


def _add_decisions(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/v1/decisions/{request_id:path}")
    async def decisions(request: Request, request_id: str) -> dict[str, Any]:
        """What was known and chosen for a request, by its own id or its answer's."""
        record = gateway.decisions(_plain(request_id), request.state.caller)
        if record is None:
            raise _not_found(request_id)
        return record

    @app.get("/v1/requests/{request_id:path}/explain")
    async def explain(request: Request, request_id: str) -> dict[str, Any]:
        """When a request was where and why, also while it waits or runs."""
        explanation = gateway.explain(_plain(request_id), request.state.caller)
        if explanation is None:
            raise _not_found(request_id)
        return explanation.to_json()


def _plain(request_id: str) -> RequestId:
    """Its own id, also where an answer's was given."""
    return RequestId(request_id.removeprefix("chatcmpl-").removeprefix("cmpl-"))


def _not_found(request_id: str) -> NotFound:
    return NotFound(
        f"no request {request_id!r} is among this gateway's last ones",
        code="request_not_found",
        param="request_id",
    )


def _add_probes(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """A replica takes work, and this gateway does."""
        if gateway.is_ready():
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, 503, {"retry-after": "1"})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(gateway.metrics.exposition(), media_type=CONTENT_TYPE)


async def _answer(
    request: Request,
    gateway: Gateway,
    limits: RateLimits,
    parse: Callable[[object], Call],
    shape: type[ChatReply] | type[CompletionReply],
    *,
    prefix: str,
) -> Response:
    arrived_ns = gateway.clock.now_ns()
    caller: Caller = request.state.caller
    meter = limits.meter(caller)
    await meter.begin()
    call = with_sender(parse(await read_json(request)), request.headers, caller)
    request_id = own_request_id(request)

    last_event = _last_event(request, call)
    if last_event is not None:
        request_id = last_event.origin.request_id

    def make_reply(card: ModelCard, created: int) -> Reply:
        envelope = Envelope(
            id=f"{prefix}-{request_id}",
            created=created,
            model=card.name,
            fingerprint=card.revision,
        )
        return shape(envelope, None if call.options.logprobs is None else gateway.spell)

    return Answer(
        gateway,
        call,
        make_reply,
        request_id=request_id,
        arrived_ns=arrived_ns,
        meter=meter,
        last_event=last_event,
        trace=parse_traceparent(request.headers.get(TRACEPARENT, "")),
    )


def _last_event(request: Request, call: Call) -> LastEvent | None:
    """What a client that comes again has of its answer. Raises InvalidRequest."""
    word = request.headers.get(HEADER)
    if not word:
        return None
    last_event = parse_event_id(word)
    if not call.stream:
        raise last_event.resumption.mismatch()
    return last_event


def _model(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "object": "model",
        "created": 0,
        "owned_by": "blockyard",
        "context_tokens_max": card.context_tokens_max,
        "block_size": card.block_size,
    }


def _body_of(path: str, model: type[BaseModel]) -> dict[str, Any]:
    """What /openapi.json shows of a body that the framework does not parse."""
    place = f"#/paths/{path.replace('/', '~1')}/post/requestBody/content/application~1json/schema"
    schema = model.model_json_schema(ref_template=f"{place}/$defs/{{model}}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
