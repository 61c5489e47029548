"""What an operator hears while nobody leads: nothing, for a moment, and then the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from grpc import StatusCode, aio

from orchestrator.live import operator_client
from orchestrator.live.control_door import ControlDoor
from orchestrator.live.control_services import LEADER_KEY
from orchestrator.live.operator_client import NotLeader
from protos import control_pb2 as pb
from protos import control_pb2_grpc
from protos.messages import ReplicaId
from protos.transport import Transport

NOBODY = ""


@dataclass
class Follower(control_pb2_grpc.OperatorServicer):
    """Leads after so many calls; until then it names who it believes does."""

    refusals: int
    leader: str = NOBODY
    calls: int = 0
    steps_before_the_end: int = 0  # of the term, in a drain

    async def Status(self, request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
        await self._require_term(context)
        return pb.StatusResponse(term=7)

    async def Drain(self, request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
        await self._require_term(context)
        for _ in range(self.steps_before_the_end):
            yield pb.DrainProgress(state="draining")
            await self._refuse(context)
        yield pb.DrainProgress(state="drained")

    async def _require_term(self, context: aio.ServicerContext[Any, Any]) -> None:
        self.calls += 1
        if self.calls <= self.refusals:
            await self._refuse(context)

    async def _refuse(self, context: aio.ServicerContext[Any, Any]) -> None:
        await context.abort(
            StatusCode.FAILED_PRECONDITION, "not the leader", ((LEADER_KEY, self.leader),)
        )


@asynccontextmanager
async def serving(follower: Follower) -> AsyncIterator[ControlDoor]:
    server = aio.server()
    control_pb2_grpc.add_OperatorServicer_to_server(follower, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield ControlDoor(f"127.0.0.1:{port}", Transport())
    finally:
        await server.stop(None)


async def test_a_call_between_two_terms_waits_for_the_next_one() -> None:
    follower = Follower(refusals=2)
    async with serving(follower) as door:
        assert (await asyncio.to_thread(operator_client.fleet, door)).term == 7
    assert follower.calls == 3


async def test_so_does_a_drain() -> None:
    follower = Follower(refusals=2)
    async with serving(follower) as door:
        progress = await asyncio.to_thread(
            lambda: list(operator_client.drain(door, ReplicaId("a")))
        )
    assert [each.state for each in progress] == ["drained"]


async def test_a_named_leader_that_leads_no_more_is_not_asked_for_ever() -> None:
    """It knows better by the time, or the one that was asked first does."""
    former = Follower(refusals=1)
    async with serving(former) as there:
        asked = Follower(refusals=1, leader=there.address)
        async with serving(asked) as door:
            assert (await asyncio.to_thread(operator_client.fleet, door)).term == 7
    assert (asked.calls, former.calls) == (2, 1)


async def test_where_nobody_ever_leads_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_client, "LEADERLESS_S", 0.3)
    follower = Follower(refusals=1000)
    async with serving(follower) as door:
        with pytest.raises(NotLeader):
            await asyncio.to_thread(operator_client.fleet, door)
    assert follower.calls > 1


async def test_a_drain_whose_term_ends_in_the_midst_is_not_begun_again() -> None:
    follower = Follower(refusals=0, steps_before_the_end=1)
    async with serving(follower) as door:
        with pytest.raises(NotLeader):
            await asyncio.to_thread(lambda: list(operator_client.drain(door, ReplicaId("a"))))
    assert follower.calls == 1
