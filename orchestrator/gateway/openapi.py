"""What /openapi.json says beyond what the framework knows: errors, keys, other types, bounds.

Bodies are read by ourselves (body.py), so the framework knows neither what is
wrong with one nor what an answer looks like while it streams. Every operation
gets the errors that it can have, each of OpenAI's form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from orchestrator.gateway.ask import Options
from orchestrator.gateway.metrics import CONTENT_TYPE

ERROR: Mapping[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "the offending field"},
                "code": {"type": "string", "description": "a stable word for programs"},
            },
        }
    },
}
EVENT = {
    "type": "object",
    "description": "with `stream`: OpenAI's chunks, an error, or [DONE]",
    "required": ["data"],
    "properties": {
        "data": {"type": "string"},
        "id": {"type": "string", "description": "for Last-Event-ID, to go on after a loss"},
    },
}
KEY = {"type": "http", "scheme": "bearer", "description": "an API key; x-api-key will do, too"}
OF_EVERY = (
    HTTPStatus.BAD_REQUEST,  # what is no HTTP
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,  # too many connections, or nobody to serve
)
WITH_KEYS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
OF_POST = (
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
)
OPEN = frozenset(("/healthz", "/readyz"))
METRICS = "/metrics"


class DescribedApp(FastAPI):
    """An app whose document is complete."""

    def __init__(self, *, needs_key: bool) -> None:
        # No pages: their scripts are others', and /ui keeps an operator's key at this origin.
        super().__init__(title="blockyard", docs_url=None, redoc_url=None)
        self._needs_key = needs_key

    def openapi(self) -> dict[str, Any]:
        """Of the routes that there are when it is first asked for."""
        if self.openapi_schema is None:
            self.openapi_schema = _document(self, needs_key=self._needs_key)
        return self.openapi_schema


def _document(app: FastAPI, *, needs_key: bool) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description="OpenAI's API, over a cluster that knows where every KV block is.",
        routes=app.routes,
    )
    components = document.setdefault("components", {})
    components["schemas"] = {"Error": ERROR}
    if needs_key:
        components["securitySchemes"] = {"key": KEY}
    for path, operations in document["paths"].items():
        keyed = needs_key and path not in OPEN
        for method, operation in operations.items():
            _describe(operation, path, method, keyed=keyed)
    return document


def _describe(operation: dict[str, Any], path: str, method: str, *, keyed: bool) -> None:
    statuses: Iterable[HTTPStatus] = OF_EVERY
    if method == "post":
        statuses = (*statuses, *OF_POST)
        _add_bounds(operation)
        operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": EVENT}
    if "{" in path:
        statuses = (*statuses, HTTPStatus.NOT_FOUND)
    if keyed:
        statuses = (*statuses, *WITH_KEYS)
        operation["security"] = [{"key": []}]
    if path == METRICS:
        if keyed:
            operation["security"].append({})  # as the keys file has it
        operation["responses"]["200"]["content"] = {CONTENT_TYPE: {"schema": {"type": "string"}}}
    operation["responses"] = {
        "200": operation["responses"]["200"],
        **{str(int(status)): _error(status) for status in sorted(statuses)},
    }
    if path == "/readyz":
        operation["responses"]["503"] = {"description": "Not ready"}


def _error(status: HTTPStatus) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": status.phrase, "content": {"application/json": {"schema": schema}}}


def _add_bounds(operation: dict[str, Any]) -> None:
    """Options knows the bounds of its fields; the models of the bodies leave them to it."""
    body = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    for bound in Options().bounds():
        for schema in body[bound.name].get("anyOf", [body[bound.name]]):
            if schema["type"] in ("integer", "number"):
                schema.setdefault("maximum", bound.high)
                low = "exclusiveMinimum" if bound.low_excluded else "minimum"
                schema.setdefault(low, bound.low)
