"""Under Ray Serve members leave and die under load: what users see, and what the cluster does.

Eight streams run each time, and say what they say when nobody is harmed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest

from orchestrator.live import operator_client
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry
from protos.messages import ReplicaId
from tests.integration.cluster.clients import Reader, assert_same, body, various
from tests.integration.system.conftest import ANSWER_S_MAX, System, running_system
from tests.waiting import wait_for

pytestmark = pytest.mark.ray

LEASE_S = 3.0
STREAMS = 8
TOKENS = 1500  # long enough for all that happens in their middle
WITHIN_S = 120  # a slow machine is no failure


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running_system(blocks=1200, control_planes=2) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(system: System) -> list[str]:
    with streams(system) as running:
        return [text.result() for text in running]


@contextmanager
def streams(system: System) -> Iterator[list[Future[str]]]:
    """Those that run meanwhile."""
    with ThreadPoolExecutor(STREAMS) as pool:
        asks = [various(number, tokens=TOKENS) for number in range(STREAMS)]
        yield [
            pool.submit(Reader(number, asked).read, system.url) for number, asked in enumerate(asks)
        ]


def running(system: System) -> dict[ReplicaId, int]:
    """How many sequences each replica runs."""
    return {s.record.replica_id: s.snapshot.sequences_running for s in system.replicas()}


def active(system: System) -> set[ReplicaId]:
    """Who takes work, as the control plane and the gateway know it."""
    exposition = system.metrics()
    return {
        state.record.replica_id
        for state in system.replicas()
        if state.state == "active"
        and f'blockyard_replica_up{{replica="{state.record.replica_id}"}} 1.0' in exposition
    }


def listener_at(address: str) -> psutil.Process:
    """The process of this cluster that listens there."""
    port = int(address.rpartition(":")[2])
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            listening = [c for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
            if any(connection.laddr.port == port for connection in listening):
                return process
    raise AssertionError(f"nobody listens at {address}")


def leader_address(system: System) -> str | None:
    async def ask() -> str | None:
        registry = RedisRegistry.connect(system.redis_url, RegistryConfig(operation_ms=10_000))
        try:
            leader = await registry.leader()
            return None if leader is None else leader.address
        finally:
            await registry.close()

    return asyncio.run(ask())


def is_led(system: System) -> bool:
    """Who has died may be the very one that operators ask: Serve replaces it there."""
    try:
        return len(system.replicas()) == 2
    except ConnectionError:
        return False


def streams_resumed(system: System) -> float:
    resumed = r"^blockyard_streams_resumed_total\{.*\} (\S+)$"
    counts = re.findall(resumed, system.metrics(), re.MULTILINE)
    return sum(map(float, counts))


def test_a_drain_under_load_moves_everything_and_nobody_notices(
    system: System, undisturbed: list[str]
) -> None:
    with streams(system) as texts:
        wait_for(lambda: all(running(system).values()), within_s=WITHIN_S, what="streams on both")
        emptied = next(iter(running(system)))
        *_, last = operator_client.drain(system.control, emptied)
        assert (last.state, last.sequences_left) == ("drained", 0)
        assert last.sequences_moved >= 1, "with their blocks"
        assert running(system)[emptied] == 0
        assert [text.result() for text in texts] == undisturbed
    operator_client.uncordon(system.control, emptied)
    wait_for(lambda: len(active(system)) == 2, within_s=WITHIN_S, what="both take work again")


def test_a_killed_leader_is_succeeded_while_streams_go_on(
    system: System, undisturbed: list[str]
) -> None:
    address = leader_address(system)
    assert address is not None
    leader = listener_at(address)
    with streams(system) as texts:
        wait_for(lambda: all(running(system).values()), within_s=WITHIN_S, what="streams on both")
        leader.kill()
        assert [text.result() for text in texts] == undisturbed
    wait_for(
        lambda: leader_address(system) not in (None, address), within_s=WITHIN_S, what="a leader"
    )
    wait_for(lambda: is_led(system), within_s=WITHIN_S, what="an answer where operators ask")


def test_a_stream_goes_on_at_the_gateway_that_replaces_a_killed_one(system: System) -> None:
    asked = body(5, tokens=TOKENS, n=2, logprobs=1)
    whole, reader = Reader(5, asked), Reader(5, asked)
    whole.read(system.url)
    gateway = listener_at(system.url)  # looked for before: that takes longer than some streams
    with pytest.raises(httpx.TransportError):
        for count in reader.events(system.url):
            if count == 100:
                gateway.kill()

    def is_ready() -> bool:
        try:
            return httpx.get(f"{system.url}/readyz", timeout=ANSWER_S_MAX).is_success
        except httpx.TransportError:
            return False

    wait_for(is_ready, within_s=WITHIN_S, what="Serve has replaced it, at the same port")
    reader.read(system.url)
    assert_same(reader, whole)


def test_eight_streams_of_a_killed_replica_are_whole_and_it_is_replaced(
    system: System, undisturbed: list[str]
) -> None:
    wait_for(lambda: len(active(system)) == 2, within_s=WITHIN_S, what="both take work")
    before = {state.record.replica_id: state.record.address for state in system.replicas()}
    victim, survivor = before
    doomed = listener_at(before[victim])
    operator_client.cordon(system.control, survivor)
    wait_for(lambda: active(system) == {victim}, within_s=WITHIN_S, what="one is left")
    with streams(system) as texts:
        wait_for(
            lambda: running(system)[victim] == STREAMS, within_s=WITHIN_S, what="all run there"
        )
        operator_client.uncordon(system.control, survivor)
        wait_for(
            lambda: len(active(system)) == 2, within_s=WITHIN_S, what="the other takes work again"
        )
        assert running(system)[victim], "they run on"
        doomed.kill()
        wait_for(
            lambda: system.members() & set(before) == {survivor},
            within_s=LEASE_S + 30,
            what="the registry forgets the dead replica within its lease",
        )
        assert [text.result() for text in texts] == undisturbed
    assert streams_resumed(system) >= 1, "the streams of the dead replica went on"
    wait_for(
        lambda: len(system.members() - set(before)) == 1,
        within_s=WITHIN_S,
        what="a replacement has joined",
    )
