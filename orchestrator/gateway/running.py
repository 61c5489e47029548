"""Requests in progress by id, so that another call can end one.

A request is worked on by one task from its admission to its last token;
ending it means cancelling that task at whatever it waits for. The task then
learns the difference between that and its own client leaving: the one becomes
`Cancelled`, an answer; the other stays asyncio's CancelledError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from orchestrator.gateway.errors import GatewayError, InvalidRequest
from protos.messages import RequestId


class Cancelled(GatewayError):
    """Ended by a Cancel call. HTTP 409, CANCELLED."""


@dataclass(slots=True)
class _Work:
    task: asyncio.Task[Any]
    cancel_asked: bool = False


class Running:
    """The requests of one gateway that have not ended."""

    def __init__(self) -> None:
        self._work: dict[RequestId, _Work] = {}

    def cancel(self, request_id: RequestId) -> bool:
        """End a request; False if there is none of this id."""
        work = self._work.get(request_id)
        if work is None:
            return False
        if not work.cancel_asked:
            work.cancel_asked = True
            work.task.cancel()
        return True

    @asynccontextmanager
    async def track(self, request_id: RequestId) -> AsyncIterator[None]:
        """The current task works on this request meanwhile. Raises Cancelled when it is ended."""
        if request_id in self._work:
            raise InvalidRequest(
                f"a request with the id {request_id!r} is running",
                code="duplicate_request_id",
                param="request_id",
            )
        task = asyncio.current_task()
        assert task is not None, "requests run in tasks"
        work = self._work[request_id] = _Work(task)
        try:
            yield
            if work.cancel_asked:  # it came too late; take it back before it hits what follows
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
                task.uncancel()
        except asyncio.CancelledError:
            if not work.cancel_asked or task.uncancel() > 0:
                raise
            raise Cancelled("the request was cancelled", code="cancelled") from None
        finally:
            del self._work[request_id]
