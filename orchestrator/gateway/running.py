"""Requests in progress by id, so that somebody other than its client can end one.

A request is worked on by one task from its admission to its last token;
ending it means cancelling that task at whatever it waits for. The task then
learns the difference between that and its own client leaving: the one becomes
the error it was ended with, an answer; the other stays a CancelledError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from orchestrator.gateway.caller import Caller
from orchestrator.gateway.errors import GatewayError, InvalidRequest
from protos.messages import RequestId

SUPERSEDE_S = 1.0  # ending a request only unwinds it; after this, its id is simply taken


class Cancelled(GatewayError):
    """Ended by a Cancel call. HTTP 409, CANCELLED."""


@dataclass(slots=True)
class _Work:
    task: asyncio.Task[Any]
    tenant: str
    error: GatewayError | None = None  # what it was ended with

    def end(self, error: GatewayError) -> None:
        if self.error is None:
            self.error = error
            self.task.cancel()


class Running:
    """The requests of one gateway that have not ended."""

    def __init__(self) -> None:
        self._work: dict[RequestId, _Work] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def cancel(self, request_id: RequestId, caller: Caller) -> bool:
        """End a request; False if there is none of this id that the caller may know of."""
        work = self._work.get(request_id)
        if work is None or not caller.may_see(work.tenant):
            return False
        work.end(Cancelled("the request was cancelled", code="cancelled"))
        return True

    async def supersede(self, request_id: RequestId, tenant: str) -> bool:
        """End a request whose client has come again for the rest of it, and wait for its end.

        Of several that come at once each ends the one before: the last one stays.
        False where the id is another tenant's, which nothing happens to.
        """
        work = self._work.get(request_id)
        while work is not None:
            if work.tenant != tenant:
                return False
            work.end(Cancelled("its client came again", code="superseded"))
            done, _ = await asyncio.wait({work.task}, timeout=SUPERSEDE_S)
            work = self._work.get(request_id) if done else None
        return True

    async def finish(self, timeout_s: float) -> bool:
        """Let them finish; whether all of them did within the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_empty.wait()
        except TimeoutError:
            return False
        return True

    def end_all(self, error: GatewayError) -> None:
        """End those that are left, with this as their answer."""
        for work in self._work.values():
            work.end(error)

    @asynccontextmanager
    async def track(self, request_id: RequestId, tenant: str) -> AsyncIterator[None]:
        """The current task works on this request meanwhile. Raises what it was ended with."""
        if request_id in self._work:
            raise InvalidRequest(
                f"a request with the id {request_id!r} is running",
                code="duplicate_request_id",
                param="request_id",
            )
        task = asyncio.current_task()
        assert task is not None, "requests run in tasks"
        work = self._work[request_id] = _Work(task, tenant)
        self._is_empty.clear()
        try:
            yield
            if work.error is not None:  # too late; take it back before it hits what follows
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
                task.uncancel()
        except asyncio.CancelledError:
            if work.error is None or task.uncancel() > 0:
                raise
            raise work.error from None
        finally:
            del self._work[request_id]
            if not self._work:
                self._is_empty.set()
