"""Errors as HTTP shows them: OpenAI's JSON, a status, and when to come back.

The one place where the gateway's tree of errors meets HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from orchestrator.gateway.errors import (
    GatewayError,
    InvalidRequest,
    NoReplica,
    NotFound,
    PoisonRequest,
    ReplicaFailed,
    Shed,
    Unservable,
)
from orchestrator.gateway.running import Cancelled

STATUS: Mapping[type[GatewayError], HTTPStatus] = {
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    Unservable: HTTPStatus.BAD_REQUEST,
    Shed: HTTPStatus.TOO_MANY_REQUESTS,
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
}


def error_json(error: GatewayError) -> dict[str, Any]:
    """OpenAI's error object."""
    return _error(STATUS[type(error)], error.message, code=error.code, param=error.param)


def error_response(error: GatewayError) -> JSONResponse:
    """The whole answer to a request that failed before its first token."""
    headers = {}
    if isinstance(error, Shed | NoReplica):
        headers["retry-after"] = str(error.retry_after_s)
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
        return JSONResponse(
            _error(status, message, code=_CODES.get(status, "http_error")), status, error.headers
        )

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # to nobody

    @app.exception_handler(Exception)
    async def on_bug(_: Request, __: Exception) -> Response:
        # The server logs the stack; its client learns nothing of our insides.
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return JSONResponse(_error(status, "internal error", code="internal_error"), status)


def _error(
    status: HTTPStatus, message: str, *, code: str, param: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": _type(status), "param": param, "code": code}}


def _type(status: HTTPStatus) -> str:
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
