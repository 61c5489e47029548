"""Every call keeps to one hash slot: a server of a Redis Cluster takes them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry
from orchestrator.registry.shared_counters import SharedCounters
from protos.registry import BlockBatch, Leader
from tests.conformance.registry.world import chain, record
from tests.integration.registry.announcing import assert_heard
from tests.integration.registry.servers import HOST, Server, server
from tests.ports import free_ports
from tests.waiting import wait_for

pytestmark = pytest.mark.redis

LONG = chain("long", 1300)  # three pieces
CONFIG = RegistryConfig(lease_ms=600_000, operation_ms=10_000, connect_ms=10_000)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Server]:
    """One that has all slots to itself."""
    (bus_port,) = free_ports(1)  # by itself it takes one that callers are given
    settings = ("cluster-enabled yes", f"cluster-port {bus_port}")
    with server(tmp_path / "node", *settings) as made:
        made.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")

        def is_up() -> bool:
            return "cluster_state:ok" in str(made.ask("CLUSTER", "INFO"))

        wait_for(is_up, within_s=60, what="a cluster of one node")
        yield made


def url(node: Server) -> str:
    return f"redis://{HOST}:{node.port}"


def test_the_node_refuses_what_touches_two_slots(node: Server) -> None:
    """Else the other test here would prove nothing."""
    with pytest.raises(redis.exceptions.ResponseError, match=r"CROSSSLOT|hash to the same slot"):
        node.ask("MGET", "{one}:a", "{other}:a")


async def test_a_node_of_a_cluster_takes_every_call(node: Server) -> None:
    registry = RedisRegistry.connect(url(node), CONFIG)
    membership = await registry.join(record("a"))
    assert await registry.publish(membership, BlockBatch(0, LONG))
    assert await registry.publish(membership, BlockBatch(1, (), removed=LONG[1000:]))
    assert await registry.publish(membership, BlockBatch(2, LONG[:700], complete=True))
    assert await registry.locate(LONG) == {"a": 700}
    assert await registry.renew(membership, draining=True)
    assert len(await registry.members()) == 1
    again = await registry.join(record("a"))
    assert await registry.locate(LONG) == {}
    await registry.leave(again)
    term = await registry.lead("one", "here:7000")
    assert term is not None
    assert await registry.leader() == Leader("here:7000", term)
    assert await registry.keep_policy(term, {"enabled": "off"})
    assert await registry.policy() == {"enabled": "off"}
    await registry.resign("one")
    await registry.close()


async def test_gateways_hear_each_other_and_count_together_on_a_node_of_a_cluster(
    node: Server,
) -> None:
    await assert_heard(url(node), CONFIG)
    counters = SharedCounters(url(node), CONFIG.prefix, answer_ms=10_000)
    assert await counters.acquire_sliding_window_entry("tenant", 1, 60)
    assert not await counters.acquire_sliding_window_entry("tenant", 1, 60)
    assert (await counters.get_sliding_window("tenant", 60))[2] == 1
    await counters.close()
