"""Dispatch, fleet, links, real replicas and the control plane together, over loopback.

The engines are the real ones and only count instead of computing: the token
at a position is the position.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import pytest
from grpc import aio

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.control.seams import LossReason
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.errors import NoReplica, ReplicaFailed
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.link_config import LinkConfig
from orchestrator.gateway.totals import AdoptionEnd, HandoffKind
from orchestrator.live.clock import OsClock
from orchestrator.live.control_plane import ControlPlaneConfig, ControlPlaneServer
from orchestrator.live.replica_client import GrpcReplicaClient
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos import control_pb2, control_pb2_grpc
from protos.hashing import BlockHash, block_hashes
from protos.messages import ReplicaId, Request, RequestId, Standing
from protos.transport import Transport
from tests.integration.control.until import until, until_true
from tests.integration.replica.gateway import Running, running
from tests.unit.shell.counting import CARD, CONFIG, answer, request

PATIENT = LinkConfig(silence_s_max=600)  # of a machine that does much else


@dataclass(slots=True)
class Gateway:
    """The inner half of one gateway, live."""

    registry: MemoryRegistry
    cluster: Cluster
    fleet: Fleet
    dispatch: Dispatch
    replicas: dict[ReplicaId, Running]
    stops: dict[ReplicaId, AsyncExitStack]

    async def ask(self, what: Request) -> tuple[ReplicaId, int]:
        """Who answered, and how many prompt tokens it found. The answer is complete."""
        async with await self.dispatch.start(what) as stream:
            seen = [token.token async for delta in stream for token in delta.tokens]
        assert seen == list(range(len(what.prompt), len(what.prompt) + what.sampling.tokens_max))
        return stream.replica_id, stream.hit_tokens

    def accepting(self) -> set[ReplicaId]:
        return {replica.replica_id for replica in self.fleet.view().accepting}


def path(
    registry: MemoryRegistry, cluster: Cluster, patience_s: float = 20.0
) -> tuple[Fleet, Dispatch]:
    clock = OsClock()
    connect = partial(GrpcReplicaClient, config=PATIENT, transport=Transport())
    fleet = Fleet(registry, connect, cluster, clock, FleetConfig(refresh_s=0.02))
    patient = DispatchConfig(queue_ns_max=int(patience_s * 1e9))
    return fleet, Dispatch(fleet, cluster, registry, clock, patient)


@asynccontextmanager
async def gateway(*names: str, patience_s: float = 20.0) -> AsyncIterator[Gateway]:
    registry = MemoryRegistry(time.monotonic_ns, RegistryConfig(lease_ms=600_000))
    cluster = Cluster(ClusterConfig())
    fleet, dispatch = path(registry, cluster, patience_s)
    made = Gateway(registry, cluster, fleet, dispatch, {}, {})
    async with AsyncExitStack() as stack:
        for name in names:
            replica_id = ReplicaId(name)
            stop = made.stops[replica_id] = await stack.enter_async_context(AsyncExitStack())
            config = replace(CONFIG, replica_id=replica_id)
            made.replicas[replica_id] = await stop.enter_async_context(
                running(config, registry, registry)
            )
        await fleet.start()
        stack.push_async_callback(fleet.stop)
        await until(lambda: made.accepting() == set(names), "every replica is linked")
        yield made
        assert list(cluster.debits) == []


async def test_the_second_turn_of_a_conversation_goes_to_the_replica_of_the_first() -> None:
    async with gateway("a", "b", "c") as made:
        for number in range(5):
            first = request(f"first {number}", prompt_tokens=40)
            holder, _ = await made.ask(first)

            chain = block_hashes(first.prompt, block_size=CARD.block_size, root=CARD.scope())

            async def is_known(
                chain: tuple[BlockHash, ...] = chain, holder: ReplicaId = holder
            ) -> bool:
                return (await made.registry.locate(chain)).get(holder) == len(chain)

            await until_true(is_known, "the registry learns of the prompt")
            second = replace(first, request_id=RequestId(f"second {number}"))
            again, hit_tokens = await made.ask(second)
            assert again == holder
            assert hit_tokens == 36  # all full blocks but the one of the last token


async def test_a_spike_is_answered_completely_by_all_replicas() -> None:
    async with gateway("a", "b") as made:
        answers = await asyncio.gather(
            *(made.ask(request(f"{n}", prompt_tokens=20, tokens_max=30)) for n in range(60))
        )
        assert {replica_id for replica_id, _ in answers} == {"a", "b"}
        assert made.dispatch.totals.streams_broken == 0


def slow_down(made: Gateway) -> None:
    """No answer may end before what is to happen in its middle."""
    for served in made.replicas.values():
        served.executor.step_s = 0.05


def speed_up(made: Gateway) -> None:
    """It has happened."""
    for served in made.replicas.values():
        served.executor.step_s = 0.0


@pytest.mark.parametrize("choices", [1, 3])
async def test_another_gateway_adopts_what_the_lost_one_had_begun(choices: int) -> None:
    """The first one's links break in the middle of an answer."""
    async with gateway("a", "b") as made:
        slow_down(made)
        long = request("long", tokens_max=60, choices=choices)
        fleet, dispatch = path(made.registry, Cluster(ClusterConfig()))
        await fleet.start()
        await until(lambda: len(fleet.view().accepting) == 2, "the other gateway is linked")
        async with await made.dispatch.start(long) as stream:
            async for delta in stream:
                if delta.first_index == 10:
                    break
            for _, link in made.fleet.links():
                await link.close()
            speed_up(made)
            said: dict[int, list[int]] = {choice: [] for choice in range(choices)}
            async with await dispatch.take_over(long, CARD) as again:
                async for delta in again:
                    said[delta.choice] += [sampled.token for sampled in delta.tokens]
        assert said == dict.fromkeys(range(choices), answer(long))
        assert dispatch.totals.takeovers == {AdoptionEnd.ADOPTED: choices}
        await fleet.stop()


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("reason", [LossReason.STOPPED, LossReason.BROKEN])
async def test_an_answer_outlives_the_replica_that_began_it(
    choices: int, reason: LossReason
) -> None:
    async with gateway("a", "b") as made:
        slow_down(made)
        long = request("long", tokens_max=60, choices=choices)
        said: dict[int, list[int]] = {choice: [] for choice in range(choices)}
        is_over = False
        async with await made.dispatch.start(long) as stream:
            async for delta in stream:
                said[delta.choice] += [sampled.token for sampled in delta.tokens]
                if delta.first_index == 10 and not is_over:
                    is_over = True
                    if reason is LossReason.STOPPED:
                        await made.stops[stream.replica_id].aclose()
                    else:
                        made.replicas[stream.replica_id].executor.failure = RuntimeError("burnt")
                    speed_up(made)
        assert said == dict.fromkeys(range(choices), answer(long))
        totals = made.dispatch.totals
        if reason is LossReason.STOPPED:  # it hands back what it cannot finish
            assert totals.handoffs == {HandoffKind.HANDED_BACK: choices}
        else:
            assert totals.streams_resumed == {reason: 1}
        other = {ReplicaId("a"), ReplicaId("b")} - {stream.replica_id}
        for number in range(5):
            replica_id, _ = await made.ask(request(f"{number}"))
            assert {replica_id} == other


async def test_an_answer_ends_when_nobody_is_left_to_go_on() -> None:
    async with gateway("a", patience_s=1.0) as made:
        slow_down(made)
        with pytest.raises(ReplicaFailed) as caught:
            async with await made.dispatch.start(request("long", tokens_max=200)) as stream:
                await made.stops[stream.replica_id].aclose()
                async for _ in stream:
                    pass
        assert caught.value.code == "replica_lost"


async def test_an_operators_drain_moves_traffic_and_cuts_no_stream() -> None:
    async with gateway("a", "b") as made:
        control_plane = ControlPlaneServer(
            made.registry,
            host="127.0.0.1",
            port=0,
            advertise_host="127.0.0.1",
            transport=Transport(),
            config=ControlPlaneConfig(tick_s=0.02, stop_grace_s=0.0),
        )
        address = await control_plane.start()
        async with aio.insecure_channel(address) as channel:
            operator = control_pb2_grpc.OperatorStub(channel)  # type: ignore[no-untyped-call]

            async def all_attached() -> bool:
                status = await operator.Status(control_pb2.StatusRequest())
                return len(status.replicas) == 2

            await until_true(all_attached, "both replicas found the control plane")
            running_on = request("running", tokens_max=100)
            async with await made.dispatch.start(running_on) as stream:
                drained = operator.Drain(control_pb2.DrainRequest(replica_id=stream.replica_id))
                await until(lambda: stream.replica_id not in made.accepting(), "the gateway knows")
                for number in range(5):
                    replica_id, _ = await made.ask(request(f"{number}"))
                    assert replica_id != stream.replica_id
                assert len([t async for delta in stream for t in delta.tokens]) == 100
            states = [progress.state async for progress in drained]
            assert states[-1] == "drained"
        await control_plane.stop()


async def test_when_the_last_replica_drains_nobody_is_there() -> None:
    async with gateway("a") as made:
        await made.replicas[ReplicaId("a")].replica.stand(Standing.CORDONED)
        await until(lambda: not made.dispatch.is_ready(), "the gateway knows")
        with pytest.raises(NoReplica):
            await made.ask(request("late"))
