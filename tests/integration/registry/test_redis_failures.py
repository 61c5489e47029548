"""The server dies, hangs, forgets, refuses: calls say so within a bound, and recover alone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys
from orchestrator.registry.redis import RedisRegistry
from protos.registry import BlockBatch, Leader, Membership, RegistryUnavailable
from tests.conformance.registry.world import chain, record
from tests.integration.control.until import until_true

pytestmark = pytest.mark.redis

PROMPT = chain("prompt", 40)
BOUND_S = 20.0  # far above the configured bounds: only a call that hangs gets there
IMPATIENT = RegistryConfig(lease_ms=600_000, operation_ms=300, connect_ms=300)


def calls(registry: RedisRegistry, membership: Membership) -> list[Callable[[], Awaitable[object]]]:
    """Every call of the contract that needs the server."""
    return [
        lambda: registry.join(record("a")),
        lambda: registry.renew(membership, draining=False),
        lambda: registry.publish(membership, BlockBatch(1, PROMPT)),
        lambda: registry.publish(membership, BlockBatch(1, PROMPT, complete=True)),
        lambda: registry.leave(membership),
        registry.members,
        lambda: registry.locate(PROMPT),
        lambda: registry.lead("one", "here:7000"),
        lambda: registry.resign("one"),
        registry.leader,
    ]


async def assert_everything_is_unavailable(registry: RedisRegistry, membership: Membership) -> None:
    for call in calls(registry, membership):
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(RegistryUnavailable):
                await call()


async def joined(registry: RedisRegistry) -> Membership:
    membership = await registry.join(record("a"))
    assert await registry.publish(membership, BlockBatch(0, PROMPT))
    return membership


async def assert_replica_can_start_over(registry: RedisRegistry, before: Membership) -> None:
    """The server forgot everything: the replica is told so, joins again and is found."""
    assert await registry.members() == ()
    assert await registry.locate(PROMPT) == {}
    assert not await registry.renew(before, draining=False)
    assert not await registry.publish(before, BlockBatch(1, ()))
    after = await registry.join(record("a"))
    assert after.epoch > before.epoch
    assert await registry.publish(after, BlockBatch(0, PROMPT))
    assert await registry.locate(PROMPT) == {"a": 40}


async def test_a_killed_server_is_unavailable_and_may_come_back_empty(
    valkey: EmbeddedValkey, registry: RedisRegistry, config: RegistryConfig
) -> None:
    membership = await joined(registry)
    url = valkey.url
    os.kill(valkey.pid, signal.SIGKILL)
    valkey.stop()
    await assert_everything_is_unavailable(registry, membership)
    valkey.start()
    assert valkey.url == url
    await assert_replica_can_start_over(registry, membership)


async def test_epochs_grow_across_an_empty_restart_for_a_new_process_too(
    registry: RedisRegistry, admin: Redis, valkey: EmbeddedValkey, config: RegistryConfig
) -> None:
    before = await joined(registry)
    await admin.flushall()
    restarted = RedisRegistry.connect(valkey.url, config)
    after = await restarted.join(record("a"))
    await restarted.close()
    assert after.epoch > before.epoch


async def test_terms_grow_across_an_empty_restart_also_where_a_clock_is_behind(
    registry: RedisRegistry, admin: Redis, valkey: EmbeddedValkey, config: RegistryConfig
) -> None:
    """A leader from a host whose clock is an hour ahead; whoever saw its term goes above it.

    Power: without what `lead` and `leader` remember, the wall clock gives the lower term.
    """
    far_ahead = time.time_ns() // 1_000_000 + 3_600_000
    await admin.set(Keys(config.prefix).term, far_ahead)
    before = await registry.lead("one", "here:7000")
    assert before is not None and before > far_ahead
    lost_a_race = RedisRegistry.connect(valkey.url, config)
    assert await lost_a_race.lead("two", "there:7000") is None
    looked = RedisRegistry.connect(valkey.url, config)
    assert await looked.leader() == Leader("here:7000", before)
    for witness in (lost_a_race, looked, registry):
        await admin.flushall()
        after = await witness.lead("three", "elsewhere:7000")
        assert after is not None and after > before
    await lost_a_race.close()
    await looked.close()


async def test_terms_grow_across_an_empty_restart_for_a_new_process_too(
    registry: RedisRegistry, admin: Redis, valkey: EmbeddedValkey, config: RegistryConfig
) -> None:
    before = await registry.lead("one", "here:7000")
    await admin.flushall()
    restarted = RedisRegistry.connect(valkey.url, config)
    after = await restarted.lead("two", "there:7000")
    await restarted.close()
    assert before is not None and after is not None and after > before


async def test_a_leader_that_the_server_forgot_is_told_by_a_new_term(
    registry: RedisRegistry, admin: Redis
) -> None:
    before = await registry.lead("one", "here:7000")
    await admin.flushall()
    after = await registry.lead("one", "here:7000")
    assert before is not None and after is not None and after > before


async def test_a_paused_server_is_unavailable_within_the_bound(
    valkey: EmbeddedValkey, registry: RedisRegistry
) -> None:
    membership = await joined(registry)
    impatient = RedisRegistry.connect(valkey.url, IMPATIENT)

    async def is_connected() -> bool:
        with suppress(RegistryUnavailable):
            return bool(await impatient.members())
        return False

    await until_true(is_connected, "who is impatient is connected")
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        await assert_everything_is_unavailable(impatient, membership)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    await impatient.close()
    term = await registry.lead("one", "here:7000")
    assert term is not None
    assert await registry.leader() == Leader("here:7000", term)


async def test_a_flushed_server_is_an_empty_one(registry: RedisRegistry, admin: Redis) -> None:
    membership = await joined(registry)
    await admin.flushall()
    await assert_replica_can_start_over(registry, membership)


async def test_forgotten_scripts_are_taught_again(registry: RedisRegistry, admin: Redis) -> None:
    membership = await joined(registry)
    await admin.script_flush()
    assert await registry.renew(membership, draining=False)
    assert await registry.locate(PROMPT) == {"a": 40}


async def test_a_server_that_became_a_read_only_replica_takes_no_writes(
    registry: RedisRegistry, admin: Redis
) -> None:
    """As after a failover: the address now belongs to the one that was demoted."""
    membership = await joined(registry)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        await admin.replicaof(*nobody.getsockname())
        with pytest.raises(RegistryUnavailable):
            await registry.publish(membership, BlockBatch(1, ()))
        assert await registry.locate(PROMPT) == {"a": 40}
        await admin.replicaof("NO", "ONE")
    assert await registry.publish(membership, BlockBatch(1, ()))


async def test_a_full_server_stores_nothing_more_but_lets_a_replica_leave(
    registry: RedisRegistry, admin: Redis
) -> None:
    membership = await joined(registry)
    await admin.config_set("maxmemory", 1)
    with pytest.raises(RegistryUnavailable):
        await registry.publish(membership, BlockBatch(1, chain("more", 40)))
    await registry.leave(membership)
    assert await registry.members() == ()
    await admin.config_set("maxmemory", 0)
    assert await registry.locate(PROMPT) == {}


async def test_nobody_at_the_address_is_unavailable(config: RegistryConfig) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        registry = RedisRegistry.connect(f"redis://127.0.0.1:{closed.getsockname()[1]}", config)
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(RegistryUnavailable):
                await registry.members()
        await registry.close()


async def test_a_listener_that_never_answers_is_unavailable_within_the_bound() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = RedisRegistry.connect(f"redis://127.0.0.1:{silent.getsockname()[1]}", IMPATIENT)
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(RegistryUnavailable):
                await registry.locate(PROMPT)
        await registry.close()


async def test_more_callers_than_connections_wait_for_one(valkey: EmbeddedValkey) -> None:
    registry = RedisRegistry.connect(
        valkey.url, RegistryConfig(connections_max=2, operation_ms=10_000, lease_ms=600_000)
    )
    await joined(registry)
    answers = await asyncio.gather(*(registry.locate(PROMPT) for _ in range(50)))
    assert answers == [{"a": 40}] * 50
    await registry.close()


async def test_a_caller_that_gives_up_leaves_its_answer_to_nobody_else(
    valkey: EmbeddedValkey,
) -> None:
    """The one connection must not serve the abandoned answer to the next caller."""
    registry = RedisRegistry.connect(
        valkey.url, RegistryConfig(connections_max=1, operation_ms=10_000, lease_ms=600_000)
    )
    await joined(registry)
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await registry.locate(PROMPT)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    assert await registry.leader() is None
    assert await registry.locate(PROMPT) == {"a": 40}
    await registry.close()
