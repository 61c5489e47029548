"""gRPC interceptor: no call without a caller.

Only the health service answers everybody. The caller is the current task's
while the call runs, because a servicer's context has no place for it:
grpc.aio runs interceptors and the method in one task, of that call alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from orchestrator.gateway.caller import Caller
from orchestrator.gateway.errors import Unauthenticated
from orchestrator.gateway.grpc_errors import STATUS, Context, trailing_metadata
from orchestrator.gateway.keyring import Keys

OPEN_SERVICE = f"/{health_pb2.DESCRIPTOR.services_by_name['Health'].full_name}/"

_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Who made the call that this task answers. LookupError outside of one."""
    return _caller.get()


class CheckKeys(grpc.aio.ServerInterceptor):
    """Lets a call through with its caller, or ends it with UNAUTHENTICATED."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        handler = await continuation(details)
        if handler is None or details.method.startswith(OPEN_SERVICE):
            return handler
        # Metadata may be bytes, under names that end with -bin; no key is.
        metadata = {name: word for name, word in details.invocation_metadata if str(word) == word}
        try:
            _caller.set(self._keys.admit(metadata, datetime.now(UTC)))
        except Unauthenticated as error:
            return _refusing(handler, error)
        return handler


def _refusing(handler: Any, error: Unauthenticated) -> Any:
    """A method that only says no, and for that waits for no message: hence of a stream of them."""

    async def refuse(_: object, context: Context) -> None:
        await context.abort(STATUS[type(error)], error.message, trailing_metadata(error))

    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(refuse)
    return grpc.stream_unary_rpc_method_handler(refuse)
