"""A process that dies or is overtaken half way through a call leaves nothing wrong behind.

The server here is real; the way to it can fail before, or let another replica
act before, a chosen run of a script.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys
from orchestrator.registry.redis import RedisRegistry
from orchestrator.registry.redis_server import Argument, RedisServer
from orchestrator.registry.scripts import ENTER, PUBLISH, SWEEP, Script
from protos.registry import BlockBatch, RegistryUnavailable
from tests.conformance.registry.world import chain, record

pytestmark = pytest.mark.redis

LONG = chain("long", 1200)  # three pieces


class InterruptedServer(RedisServer):
    """Once armed, awaits `interruption` before the given run (from 0) of a script or command."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client)
        self._armed: tuple[Script | str, int, Callable[[], Awaitable[None]]] | None = None

    def arm(
        self, what: Script | str, *, run: int, interruption: Callable[[], Awaitable[None]]
    ) -> None:
        self._armed = what, run, interruption

    async def ask(self, *command: Argument) -> Any:
        await self._reach(command[0])
        return await super().ask(*command)

    async def run(
        self, script: Script, *, keys: Sequence[Argument], args: Sequence[Argument]
    ) -> Any:
        await self._reach(script)
        return await super().run(script, keys=keys, args=args)

    async def _reach(self, what: Script | Argument) -> None:
        if self._armed is None or self._armed[0] != what:
            return
        armed, run, interruption = self._armed
        self._armed = (armed, run - 1, interruption) if run else None
        if run == 0:
            await interruption()


async def died() -> None:
    raise RegistryUnavailable("the process ended here")


@pytest.fixture
async def server(
    valkey: EmbeddedValkey, config: RegistryConfig
) -> AsyncIterator[InterruptedServer]:
    server = InterruptedServer.at(valkey.url, config)
    yield server
    await server.close()


@pytest.fixture
def interrupted(server: InterruptedServer, config: RegistryConfig) -> RedisRegistry:
    """The registry as the unlucky process has it; `registry` is everybody else's."""
    return RedisRegistry(server, config)


async def end_lease(admin: Redis, config: RegistryConfig, *, slot: int) -> None:
    assert await admin.delete(Keys(config.prefix).lease(slot)) == 1


@pytest.mark.parametrize("script, run", [(SWEEP, 0), (SWEEP, 1), (ENTER, 0)])
async def test_a_replica_that_dies_while_joining_spoils_nothing(
    script: Script,
    run: int,
    registry: RedisRegistry,
    interrupted: RedisRegistry,
    server: InterruptedServer,
    admin: Redis,
    config: RegistryConfig,
) -> None:
    first = await registry.join(record("first"))
    assert await registry.publish(first, BlockBatch(0, LONG))
    await end_lease(admin, config, slot=first.slot)
    server.arm(script, run=run, interruption=died)
    with pytest.raises(RegistryUnavailable):
        await interrupted.join(record("second"))
    assert await registry.members() == ()
    assert await registry.locate(LONG) == {}

    await end_lease(admin, config, slot=first.slot)
    third = await registry.join(record("third"))
    assert third.slot == first.slot
    for block in LONG[::100]:
        assert await registry.locate([block]) == {}


async def test_a_long_sweep_keeps_the_lease_of_the_joiner(
    registry: RedisRegistry,
    interrupted: RedisRegistry,
    server: InterruptedServer,
    admin: Redis,
    config: RegistryConfig,
) -> None:
    """Else another replica would take the slot while it is swept, and again, for ever."""
    lease = Keys(config.prefix).lease(0)
    milliseconds_left = []

    async def nearly_end_the_lease() -> None:
        await admin.pexpire(lease, config.lease_ms // 2)
        server.arm(ENTER, run=0, interruption=look_at_the_lease)

    async def look_at_the_lease() -> None:
        milliseconds_left.append(await admin.pttl(lease))

    first = await registry.join(record("a"))
    assert await registry.publish(first, BlockBatch(0, LONG))
    server.arm(SWEEP, run=0, interruption=nearly_end_the_lease)
    await interrupted.join(record("a"))
    assert milliseconds_left[0] > config.lease_ms // 2


async def test_a_joiner_overtaken_while_it_sweeps_stays_out(
    registry: RedisRegistry, interrupted: RedisRegistry, server: InterruptedServer
) -> None:
    """The same replica id starts twice: the later start has the slot, and its blocks stay."""

    async def overtake() -> None:
        newer = await registry.join(record("a"))
        assert await registry.publish(newer, BlockBatch(0, LONG))

    first = await registry.join(record("a"))
    assert await registry.publish(first, BlockBatch(0, LONG))
    server.arm(SWEEP, run=1, interruption=overtake)
    older = await interrupted.join(record("a"))
    assert not await interrupted.renew(older, draining=True)
    assert not await interrupted.publish(older, BlockBatch(0, (), complete=True))
    assert await registry.locate(LONG) == {"a": 1200}


async def test_a_leaver_overtaken_by_its_heir_clears_nothing_of_it(
    registry: RedisRegistry, interrupted: RedisRegistry, server: InterruptedServer
) -> None:
    async def inherit() -> None:
        heir = await registry.join(record("heir"))
        assert heir.slot == leaver.slot
        assert await registry.publish(heir, BlockBatch(0, LONG))

    leaver = await interrupted.join(record("leaver"))
    assert await interrupted.publish(leaver, BlockBatch(0, LONG))
    server.arm(SWEEP, run=1, interruption=inherit)
    await interrupted.leave(leaver)
    assert await registry.locate(LONG) == {"heir": 1200}


async def test_a_batch_cut_short_can_be_sent_again(
    registry: RedisRegistry, interrupted: RedisRegistry, server: InterruptedServer
) -> None:
    membership = await registry.join(record("a"))
    server.arm(PUBLISH, run=1, interruption=died)
    with pytest.raises(RegistryUnavailable):
        await interrupted.publish(membership, BlockBatch(0, LONG))
    assert await registry.publish(membership, BlockBatch(0, LONG))
    assert await registry.publish(membership, BlockBatch(1, ()))
    assert await registry.locate(LONG) == {"a": 1200}


async def test_an_inventory_cut_short_is_a_gap_until_one_arrives_whole(
    registry: RedisRegistry, interrupted: RedisRegistry, server: InterruptedServer
) -> None:
    membership = await registry.join(record("a"))
    server.arm(PUBLISH, run=1, interruption=died)
    with pytest.raises(RegistryUnavailable):
        await interrupted.publish(membership, BlockBatch(0, LONG, complete=True))
    assert not await registry.publish(membership, BlockBatch(0, ()))
    assert await registry.publish(membership, BlockBatch(1, LONG, complete=True))
    assert await registry.publish(membership, BlockBatch(2, ()))
    assert await registry.locate(LONG) == {"a": 1200}


async def test_a_slot_that_changes_hands_while_members_are_read_mixes_no_two_replicas(
    registry: RedisRegistry, interrupted: RedisRegistry, server: InterruptedServer
) -> None:
    async def inherit() -> None:
        await registry.leave(draining)
        assert (await registry.join(record("heir"))).slot == draining.slot

    draining = await registry.join(record("draining"))
    assert await registry.renew(draining, draining=True)
    server.arm("HGETALL", run=0, interruption=inherit)
    assert await interrupted.members() == ()
    (heir,) = await interrupted.members()
    assert not heir.draining


async def test_those_who_leave_leave_no_block_behind(
    registry: RedisRegistry, admin: Redis, config: RegistryConfig
) -> None:
    memberships = [await registry.join(record(name)) for name in ("a", "b")]
    for membership in memberships:
        assert await registry.publish(membership, BlockBatch(0, LONG))
    blocks = [Keys(config.prefix).block(block) for block in LONG]
    await registry.leave(memberships[0])
    assert await admin.exists(*blocks) == 1200
    await registry.leave(memberships[1])
    assert await admin.exists(*blocks) == 0
    assert await admin.dbsize() == 3  # who held the slots last, their number, the epoch
