"""A replica's life: start, drain, failure, stop; with a registry, and what it says of itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.address import CannotListen
from protos.messages import RefusalReason, Standing
from replicas.serving.replica import Replica, ReplicaUnhealthy
from replicas.serving.server import DATA_SERVICE
from tests.integration.replica.gateway import running
from tests.unit.shell.counting import CARD, CONFIG, CountingExecutor, answer, engine, request
from tests.unit.shell.eventually import eventually, eventually_answers

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def registry() -> MemoryRegistry:
    """A registry in which nobody expires while a test runs."""
    return MemoryRegistry(time.monotonic_ns, RegistryConfig(lease_ms=600_000))


async def health_of(address: str, service: str) -> int:
    async with aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answered = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        return int(answered.status)


async def test_it_tells_what_it_serves_and_that_it_is_well() -> None:
    async with running() as served:
        served.replica.check_health()
        assert await health_of(served.address, "") == SERVING
        assert await health_of(served.address, DATA_SERVICE) == SERVING
        async with aio.insecure_channel(served.address) as channel:
            call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            listed = (await call.read()).list_services_response.service
            await call.done_writing()
        assert DATA_SERVICE in {service.name for service in listed}


async def test_a_taken_port_is_an_error_not_a_shared_port() -> None:
    async with running() as served:
        port = int(served.address.rpartition(":")[2])
        second = Replica(replace(CONFIG, port=port), engine(), CountingExecutor(), CARD)
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}"):
            await second.start()
        await second.stop(0)
        with pytest.raises(RuntimeError):  # gRPC's own default is to share
            aio.server().add_insecure_port(served.address)


async def test_the_advertised_host_is_the_one_it_is_told() -> None:
    async with running(replace(CONFIG, advertise_host="replica-0.example")) as served:
        assert served.address.startswith("replica-0.example:")


async def test_the_advertised_port_is_the_one_it_is_told() -> None:
    async with running(replace(CONFIG, advertise_port=4711)) as served:
        assert served.address.endswith(":4711")


async def test_blocks_can_be_located_once_they_are_full() -> None:
    known = registry()
    async with running(registry=known) as served, served.attached() as gateway:
        asked = request("a", prompt_tokens=9)
        await gateway.submit(asked)
        await gateway.finished(asked)
        held = served.engine.inventory()
        assert len(held) == 3  # 9 prompt tokens and 4 computed of 5 chosen

        async def is_located() -> bool:
            return await known.locate(held) == {CONFIG.replica_id: 3}

        await eventually_answers(is_located, "the registry learns of them")
        (member,) = await known.members()
        assert member.record.address == served.address
        await gateway.read_until(lambda: gateway.snapshot.epoch == member.epoch)
    assert await known.members() == ()


async def test_a_cordoned_replica_finishes_what_runs_and_takes_nothing_new_until_it_opens() -> None:
    known = registry()
    async with running(registry=known) as served, served.attached() as gateway:

        async def is_told(draining: bool) -> bool:
            return [member.draining for member in await known.members()] == [draining]

        served.executor.hold()
        running_on = request("a")
        await gateway.submit(running_on)
        await eventually(lambda: served.blocks_used > 0, "it runs")
        await served.replica.stand(Standing.CORDONED)
        await served.replica.stand(Standing.CORDONED)
        await gateway.read_until(lambda: gateway.snapshot.draining)
        await gateway.submit(request("late"))
        await gateway.read_until(lambda: bool(gateway.refusals))
        assert gateway.refusals[0].reason is RefusalReason.DRAINING
        await eventually_answers(lambda: is_told(True), "the registry knows")
        assert await health_of(served.address, DATA_SERVICE) == NOT_SERVING
        assert await health_of(served.address, "") == SERVING
        served.executor.release()
        await gateway.finished(running_on)
        assert gateway.tokens("a") == answer(running_on)
        served.replica.check_health()

        await served.replica.stand(Standing.OPEN)
        await gateway.read_until(lambda: not gateway.snapshot.draining)
        await eventually_answers(lambda: is_told(False), "the registry knows that, too")
        assert await health_of(served.address, DATA_SERVICE) == SERVING
        late = request("late")
        await gateway.submit(late)
        await gateway.finished(late)


async def test_stop_lets_running_requests_finish_and_their_tokens_arrive() -> None:
    async with running() as served, served.attached() as gateway:
        served.executor.hold()
        asked = request("a", tokens_max=50)
        await gateway.submit(asked)
        await eventually(lambda: served.blocks_used > 0, "it runs")
        stopping = asyncio.create_task(served.replica.stop(60))
        await gateway.read_until(lambda: gateway.snapshot.draining)
        served.executor.release()
        await gateway.read_to_the_end()
        await stopping
        assert gateway.tokens("a") == answer(asked)


async def test_what_is_left_at_the_end_of_the_grace_is_handed_back() -> None:
    async with running() as served, served.attached() as gateway:
        served.executor.hold()
        asked, forked = request("a", choices=2), request("b", choices=2)
        await gateway.submit(forked)
        await eventually(lambda: served.blocks_used > 0, "it runs")
        await gateway.submit(asked)
        await eventually(lambda: served.sequences == 2, "both are in")
        stopping = asyncio.create_task(served.replica.stop(0))
        await gateway.read_until(lambda: len(gateway.handoffs) == 2)
        assert {(h.request_id, h.choice, h.choices, h.target) for h in gateway.handoffs} == {
            ("a", 0, 2, None),
            ("b", 0, 2, None),
        }
        served.executor.release()
        await gateway.read_to_the_end()
        await stopping
        await served.replica.stop(0)
        with pytest.raises(ReplicaUnhealthy, match="stopped"):
            served.replica.check_health()


async def test_nobody_opens_a_replica_that_stops() -> None:
    async with running() as served, served.attached() as gateway:
        served.executor.hold()
        await gateway.submit(request("a"))
        await eventually(lambda: served.blocks_used > 0, "it runs")
        stopping = asyncio.create_task(served.replica.stop(60))
        await gateway.read_until(lambda: gateway.snapshot.draining)
        await served.replica.stand(Standing.OPEN)
        assert served.engine.draining
        served.executor.release()
        await gateway.read_to_the_end()
        await stopping


async def test_an_executor_that_fails_makes_the_replica_unhealthy() -> None:
    known = registry()
    async with running(registry=known) as served, served.attached() as gateway:
        await gateway.read_until(lambda: gateway.snapshot.epoch > 0)
        served.executor.failure = RuntimeError("the device is gone")
        await gateway.submit(request("a"))
        with pytest.raises(aio.AioRpcError) as ended:
            await gateway.read_to_the_end()
        assert ended.value.code() is grpc.StatusCode.INTERNAL
        with pytest.raises(ReplicaUnhealthy, match="the device is gone"):
            served.replica.check_health()

        async def has_left() -> bool:
            return await known.members() == ()

        await eventually_answers(has_left, "it left the registry")
        assert await health_of(served.address, "") == NOT_SERVING
        with pytest.raises(aio.AioRpcError, match="the replica failed"):
            async with served.attached() as late:
                await late.read_to_the_end()


async def test_a_step_that_hangs_makes_the_replica_unhealthy() -> None:
    async with running(replace(CONFIG, step_stuck_ms=1)) as served, served.attached() as gateway:
        served.executor.hold()
        await gateway.submit(request("a"))

        def is_unhealthy() -> bool:
            try:
                served.replica.check_health()
            except ReplicaUnhealthy as error:
                return "a step has been running" in str(error)
            return False

        await eventually(is_unhealthy, "the step is noticed")
