"""Errors as HTTP shows them: OpenAI's JSON, a status, and when to come back.

The one place where the gateway's tree of errors meets HTTP.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.gateway.errors import (
    Forbidden,
    GatewayError,
    InvalidRequest,
    NoReplica,
    NotFound,
    PoisonRequest,
    RateLimited,
    ReplicaFailed,
    Shed,
    Unauthenticated,
    Unservable,
)
from orchestrator.gateway.running import Cancelled
from protos.logs import fields

log = logging.getLogger(__name__)

STATUS: Mapping[type[GatewayError], HTTPStatus] = {
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Unservable: HTTPStatus.BAD_REQUEST,
    Shed: HTTPStatus.TOO_MANY_REQUESTS,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    NoReplica: HTTPStatus.SERVICE_UNAVAILABLE,
    PoisonRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    ReplicaFailed: HTTPStatus.BAD_GATEWAY,
    Cancelled: HTTPStatus.CONFLICT,
}

_CODES = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_TIMEOUT: "request_timeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.TOO_MANY_REQUESTS: "too_many_requests",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "headers_too_large",
    HTTPStatus.SERVICE_UNAVAILABLE: "too_many_connections",
}


def error_json(error: GatewayError) -> dict[str, Any]:
    """OpenAI's error object."""
    return _error(STATUS[type(error)], error.message, code=error.code, param=error.param)


def error_of_status(status: HTTPStatus, message: str) -> dict[str, Any]:
    """OpenAI's error object for what is HTTP's matter alone."""
    return _error(status, message, code=_CODES.get(status, "http_error"))


def error_response(error: GatewayError) -> JSONResponse:
    """The whole answer to a request that failed before its first token."""
    headers = {}
    if isinstance(error, Shed | NoReplica | RateLimited):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, RateLimited):
        headers.update(error.headers)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error_json(error), STATUS[type(error)], headers)


def answer_errors_in_json(app: FastAPI) -> None:
    """Every error of this app, its framework's included, has OpenAI's form."""

    @app.exception_handler(GatewayError)
    async def on_gateway_error(_: Request, error: GatewayError) -> Response:
        return error_response(error)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        message = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse(error_of_status(status, message), status, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # to nobody


class HideBugs:
    """ASGI middleware: a bug in what is inside ends its request with a 500.

    Its client learns nothing of our insides, and the log shows where it happened without
    its words, which may quote a prompt. (The framework's own handler raises once more, for
    the server to log all of it.)
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_started = False

        async def send_on(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception as bug:
            where = "".join(traceback.format_tb(bug.__traceback__))
            name = scope["state"]["request_name"]
            about = fields(request_id=name)
            log.error("request=%s bug=%s\n%s", name, type(bug).__name__, where, extra=about)
            if not is_started:
                status = HTTPStatus.INTERNAL_SERVER_ERROR
                error = _error(status, "internal error", code="internal_error")
                await JSONResponse(error, status)(scope, receive, send)


def _error(
    status: HTTPStatus, message: str, *, code: str, param: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": _type(status), "param": param, "code": code}}


def _type(status: HTTPStatus) -> str:
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
