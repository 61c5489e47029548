"""ASGI middleware: no request without a caller.

It puts the caller on `request.state.caller` before any route is looked for,
so that without a key not even which routes exist is told. Open to everybody
are only probes, the description of the API, the files of the live page (whose
data are not: /ui/state and whatever else is below /ui needs a key) and, where
the keys file opens them, metrics: how full the pools are is for operators.
"""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.gateway.errors import Forbidden, GatewayError
from orchestrator.gateway.http_errors import error_response
from orchestrator.gateway.keyring import Keys

METRICS = "/metrics"
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json", "/ui", "/ui/"})
OPEN_FOLDER = "/ui/page/"  # what the page is made of


class CheckKeys:
    """Lets a request through with its caller, or answers 401 or 403."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope)
            except GatewayError as error:
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_FOLDER):
            return
        if path == METRICS and self._keys.metrics_are_open:
            return
        caller = self._keys.admit(Headers(scope=scope), datetime.now(UTC))
        if path == METRICS and not caller.is_operator:
            raise Forbidden("metrics are for operators", code="operator_only")
        scope.setdefault("state", {})["caller"] = caller
