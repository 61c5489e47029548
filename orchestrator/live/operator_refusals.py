"""What an operator is told when a call is in vain: one place where it becomes a gRPC status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from orchestrator.live.control_room import NotLeading
from orchestrator.live.control_services import leader_metadata


class Refused(Exception):
    """The call cannot be done; the sentence says why."""

    def __init__(self, code: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def not_found(sentence: str) -> Refused:
    return Refused(grpc.StatusCode.NOT_FOUND, sentence)


def invalid(sentence: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, sentence)


def forbidden(sentence: str) -> Refused:
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, sentence)


@asynccontextmanager
async def refusals(context: aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """End the call with a status when what is inside refuses it."""
    try:
        yield
    except Refused as error:
        await context.abort(error.code, str(error))
    except NotLeading as error:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error), leader_metadata(error))
