"""Errors as gRPC shows them: a status code with the sentence HTTP would show.

The one place where the gateway's tree of errors meets gRPC. The stable code
and the offending field travel as trailing metadata.
"""

from __future__ import annotations

from collections.abc import Mapping

from grpc import StatusCode

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

STATUS: Mapping[type[GatewayError], StatusCode] = {
    InvalidRequest: StatusCode.INVALID_ARGUMENT,
    NotFound: StatusCode.NOT_FOUND,
    Unservable: StatusCode.RESOURCE_EXHAUSTED,
    Shed: StatusCode.RESOURCE_EXHAUSTED,
    NoReplica: StatusCode.UNAVAILABLE,
    PoisonRequest: StatusCode.INTERNAL,
    ReplicaFailed: StatusCode.UNAVAILABLE,
    Cancelled: StatusCode.CANCELLED,
}


def trailing_metadata(error: GatewayError) -> tuple[tuple[str, str], ...]:
    """What a program wants to know of an error besides its status."""
    metadata = [("error-code", error.code)]
    if error.param is not None:
        metadata.append(("error-param", error.param))
    if isinstance(error, Shed | NoReplica):
        metadata.append(("retry-after-s", str(error.retry_after_s)))
    return tuple(metadata)
