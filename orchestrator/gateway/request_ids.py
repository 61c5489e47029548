"""A name for every HTTP request, in every answer, and what a name may be made of.

Names are printed on operators' terminals, so one that a client chooses has only
letters, digits and a few signs; gRPC refuses another one. HTTP's `X-Request-Id`
is kept if it is such a name, so that its client's logs and ours can be joined;
else one is made up. Proxies repeat such names when they retry,
so the id under which a request runs is never the client's alone.
"""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.gateway.ask import REQUEST_ID_CHARACTERS_MAX
from orchestrator.gateway.caller import Caller
from protos.messages import RequestId

HEADER = "x-request-id"
_NAME = re.compile(rf"[A-Za-z0-9._:/-]{{1,{REQUEST_ID_CHARACTERS_MAX}}}")


def new_request_id() -> RequestId:
    """An id that no other request has."""
    return RequestId(f"req-{secrets.token_hex(12)}")


def is_name(word: str) -> bool:
    """Whether a client may call a request so."""
    return _NAME.fullmatch(word) is not None


def own_request_id(request: Request) -> RequestId:
    """The id to run a request under: its name, made unique."""
    return RequestId(f"{request.state.request_name}-{secrets.token_hex(4)}")


def scoped_request_id(name: str, caller: Caller) -> RequestId:
    """The id for a name that a client chose: of two tenants, the same name gives two."""
    return RequestId(name if caller.tenant is None else f"{caller.tenant}/{name}")


def chosen_name(request_id: RequestId, caller: Caller) -> str:
    """The name that such an id was made of."""
    return request_id.removeprefix(f"{caller.tenant}/")


class NameRequests:
    """ASGI middleware: names the request and puts the name on its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        name = given if is_name(given) else new_request_id()
        # What follows a head concerns no middleware, and of a stream that is a great deal.
        scope.setdefault("state", {}).update(request_name=name, send_body=send)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        await self._app(scope, receive, send_named)
