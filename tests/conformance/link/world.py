"""The two worlds that a gateway's link is checked in: gRPC on loopback, and the simulated network.

At the far end is a replica that speaks the protocol and nothing more: what it is
sent is kept for the test to look at, and it answers when the test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from orchestrator.control.seams import ReplicaClient
from orchestrator.gateway.link_config import LinkConfig
from orchestrator.gateway.wire import Adopt, Cancel, GatewayMessage, Submit
from orchestrator.live.replica_client import GrpcReplicaClient
from orchestrator.sim.link import DataExchange, SimLink
from orchestrator.sim.network import End, Exchange, Network
from protos.messages import Delta, Handoff, Refusal, Request, RequestId, StepEvents
from protos.moves import Claim
from protos.transport import Transport
from tests.integration.control.data_server import DataServer, serving
from tests.integration.control.until import WITHIN_S
from tests.unit.control.reports import report

ADDRESS = "replica:1"


class Replica(Protocol):
    """What a link leads to."""

    submitted: list[Request]
    claimed: list[Claim]
    cancelled: list[tuple[RequestId, int]]
    attached: int  # streams so far

    def send(
        self,
        *deltas: Delta,
        refusals: tuple[Refusal, ...] = (),
        handoffs: tuple[Handoff, ...] = (),
    ) -> None:
        """One message on the newest stream."""
        ...

    def end_stream(self) -> None:
        """After all that was sent."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    client: ReplicaClient
    replica: Replica


class SimReplica:
    """Answers at an address of the simulated network."""

    def __init__(self, exchange: DataExchange) -> None:
        self.submitted: list[Request] = []
        self.claimed: list[Claim] = []
        self.cancelled: list[tuple[RequestId, int]] = []
        self.attached = 0
        self._end: End[GatewayMessage, StepEvents | None]
        self._number = 0
        exchange.answer(ADDRESS, "replica", self._accept)

    def send(
        self,
        *deltas: Delta,
        refusals: tuple[Refusal, ...] = (),
        handoffs: tuple[Handoff, ...] = (),
    ) -> None:
        self._number += 1
        self._end.send(StepEvents(deltas, refusals, report(number=self._number), handoffs))

    def end_stream(self) -> None:
        self._end.send(None)

    def _accept(self, end: End[GatewayMessage, StepEvents | None]) -> None:
        self.attached += 1
        self._end = end
        end.listen(self._hear, lambda: None)
        self.send()

    def _hear(self, message: GatewayMessage) -> None:
        match message:
            case Submit(request):
                self.submitted.append(request)
            case Adopt(claim):
                self.claimed.append(claim)
            case Cancel(request_id, choice):
                self.cancelled.append((request_id, choice))


@asynccontextmanager
async def grpc_world() -> AsyncIterator[World]:
    async with serving(DataServer()) as server:
        config = LinkConfig(silence_s_max=30.0, retry_s_first=0.01, retry_s_max=0.05)
        client = GrpcReplicaClient(server.record, lambda: None, config, Transport())
        yield World(client, server)
        await client.close()


@asynccontextmanager
async def sim_world() -> AsyncIterator[World]:
    exchange: DataExchange = Exchange(Network(delay_s=0.0))
    replica = SimReplica(exchange)
    client = SimLink(exchange, ADDRESS, "gateway", lambda: None, stale_s=0.0, is_patient=True)
    yield World(client, replica)
    await client.close()


async def read(client: ReplicaClient, what: Request) -> list[Delta | Handoff]:
    """All that comes of the request."""
    async with asyncio.timeout(WITHIN_S):
        return [event async for event in client.submit(what)]
