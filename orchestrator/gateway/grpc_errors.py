"""Errors as gRPC shows them: a status code with the sentence HTTP would show.

The one place where the gateway's tree of errors meets gRPC. The stable code
and the offending field travel as trailing metadata. What is no GatewayError is
a bug: its client learns nothing of our insides, and the log shows where it
happened without its words, which may quote a prompt.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
from grpc import StatusCode

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
from orchestrator.gateway.stall import ClientStalled
from protos.logs import fields

log = logging.getLogger(__name__)

NO_REQUEST = "-"  # in the log, of a call that concerns none
DETAILS_CHARACTERS_MAX = 1000  # clients refuse a status that is too large, and see another
FAREWELL_S = 1.0  # for a status that its client may never read
Context = grpc.aio.ServicerContext[Any, Any]

STATUS: Mapping[type[GatewayError], StatusCode] = {
    InvalidRequest: StatusCode.INVALID_ARGUMENT,
    Unauthenticated: StatusCode.UNAUTHENTICATED,
    Forbidden: StatusCode.PERMISSION_DENIED,
    NotFound: StatusCode.NOT_FOUND,
    Unservable: StatusCode.RESOURCE_EXHAUSTED,
    Shed: StatusCode.RESOURCE_EXHAUSTED,
    RateLimited: StatusCode.RESOURCE_EXHAUSTED,
    NoReplica: StatusCode.UNAVAILABLE,
    PoisonRequest: StatusCode.INTERNAL,
    ReplicaFailed: StatusCode.UNAVAILABLE,
    Cancelled: StatusCode.CANCELLED,
}


@asynccontextmanager
async def errors_as_status(context: Context, request_id: str) -> AsyncIterator[None]:
    """Whatever goes wrong within ends the call with a status."""
    try:
        yield
    except GatewayError as error:
        details = error.message[:DETAILS_CHARACTERS_MAX]
        await context.abort(STATUS[type(error)], details, trailing_metadata(error))
    except ClientStalled:
        # The status waits behind what the client does not read; we do not wait for both.
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await context.abort(StatusCode.CANCELLED, "this client has stopped reading")
    except Exception as bug:
        where = "".join(traceback.format_tb(bug.__traceback__))
        about = fields(request_id=request_id)
        log.error("request=%s bug=%s\n%s", request_id, type(bug).__name__, where, extra=about)
        await context.abort(StatusCode.INTERNAL, "internal error")


def trailing_metadata(error: GatewayError) -> tuple[tuple[str, str], ...]:
    """What a program wants to know of an error besides its status."""
    metadata = [("error-code", error.code)]
    if error.param is not None:
        metadata.append(("error-param", error.param))
    if isinstance(error, Shed | NoReplica | RateLimited):
        metadata.append(("retry-after-s", str(error.retry_after_s)))
    if isinstance(error, RateLimited):
        metadata.extend(error.headers.items())
    return tuple(metadata)
