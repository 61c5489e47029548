"""Redis is killed, paused, flushed or failed over under running requests: none of them fails.

Two gateways and two replicas over real gRPC, all of them on a real Valkey; the
engines count instead of computing. While the server is away requests go where
their prefixes went before; when it is back everything is there again, and
nobody was restarted for that.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.link_config import LinkConfig
from orchestrator.live.clock import OsClock
from orchestrator.live.replica_client import GrpcReplicaClient
from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry
from orchestrator.registry.redis_announcer import RedisAnnouncer
from protos.hashing import block_hashes
from protos.messages import ReplicaId, Request, RequestId
from protos.registry import Announcement, RegistryUnavailable
from protos.transport import Transport
from tests.integration.control.until import until, until_true
from tests.integration.registry.servers import watched
from tests.integration.replica.gateway import running
from tests.unit.shell.counting import CARD, CONFIG, request

pytestmark = pytest.mark.redis

REPLICAS = ("a", "b")
SHARED = request("shared", prompt_tokens=40, tokens_max=3)
CHAIN = block_hashes(SHARED.prompt, block_size=CARD.block_size, root=CARD.scope())


class Ear:
    """An announcer, and what it heard."""

    def __init__(self, announcer: RedisAnnouncer) -> None:
        self.heard = 0
        self.announce = announcer.announce
        self.close = announcer.close
        self._announcer = announcer

    def listen(self, hear: Callable[[Announcement], None]) -> None:
        def counted(announcement: Announcement) -> None:
            self.heard += 1
            hear(announcement)

        self._announcer.listen(counted)


@dataclass
class Gateway:
    """Asks for the shared prompt over and over."""

    name: str
    fleet: Fleet
    dispatch: Dispatch
    ear: Ear
    served: int = 0
    hits: int = 0

    async def ask_forever(self) -> None:
        """Any failure ends it."""
        while True:
            await self.ask(replace(SHARED, request_id=RequestId(f"{self.name} {self.served}")))
            await asyncio.sleep(0.005)

    async def ask(self, what: Request) -> None:
        async with await self.dispatch.start(what) as stream:
            said = [token.token async for delta in stream for token in delta.tokens]
        assert said == [40, 41, 42]
        self.served += 1
        self.hits += stream.hit_tokens == 36


@dataclass
class Yard:
    gateways: list[Gateway]
    reader: RedisRegistry
    asking: list[asyncio.Task[None]]

    def check(self) -> None:
        """Nobody who asks has failed."""
        for task in self.asking:
            if task.done():
                task.result()

    async def serve(self, more: int) -> None:
        """Until each gateway has answered so many more."""
        wanted = [gateway.served + more for gateway in self.gateways]

        def is_served() -> bool:
            self.check()
            return all(g.served >= w for g, w in zip(self.gateways, wanted, strict=True))

        await until(is_served, "requests are answered")

    async def until_missed(self) -> None:
        """Until each gateway has asked in vain since now."""
        before = [gateway.dispatch.totals.registry_missed for gateway in self.gateways]
        await until(
            lambda: all(
                g.dispatch.totals.registry_missed > b
                for g, b in zip(self.gateways, before, strict=True)
            ),
            "the registry is missed",
        )

    async def until_whole(self) -> None:
        """Members are listed, a prefix is found, and gateways hear each other."""

        async def is_known() -> bool:
            try:
                held = await self.reader.locate(CHAIN)
                return len(await self.reader.members()) == 2 and len(CHAIN) in held.values()
            except RegistryUnavailable:  # still on its way back: a Sentinel may be the last to know
                return False

        await until_true(is_known, "the registry knows everything again")
        heard = [gateway.ear.heard for gateway in self.gateways]

        def is_heard() -> bool:
            self.check()
            return all(g.ear.heard > h for g, h in zip(self.gateways, heard, strict=True))

        await until(is_heard, "gateways hear each other again")
        await self.serve(5)


@asynccontextmanager
async def yard(url: str) -> AsyncIterator[Yard]:
    """Everything is up and asks, until the end; then nothing may have failed."""
    config = RegistryConfig()
    async with AsyncExitStack() as stack:
        replicas = []
        for name in REPLICAS:
            registry = RedisRegistry.connect(url, config)
            stack.push_async_callback(registry.close)
            settings = replace(CONFIG, replica_id=ReplicaId(name), retry_ms_max=200)
            replicas.append(await stack.enter_async_context(running(settings, registry, registry)))
        gateways = [await stack.enter_async_context(gateway(url, name)) for name in ("g1", "g2")]
        reader = RedisRegistry.connect(url, config)
        stack.push_async_callback(reader.close)
        asking = [asyncio.create_task(each.ask_forever()) for each in gateways]
        made = Yard(gateways, reader, asking)
        try:
            yield made
            made.check()
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)


@asynccontextmanager
async def gateway(url: str, name: str) -> AsyncIterator[Gateway]:
    registry = RedisRegistry.connect(url, RegistryConfig())
    ear = Ear(RedisAnnouncer.connect(url, RegistryConfig()))
    clock, cluster = OsClock(), Cluster(ClusterConfig())
    connect = partial(GrpcReplicaClient, config=LinkConfig(), transport=Transport())
    fleet = Fleet(registry, connect, cluster, clock, FleetConfig(refresh_s=0.05))
    dispatch = Dispatch(fleet, cluster, registry, clock, DispatchConfig(), announcer=ear)
    await fleet.start()
    await until(lambda: len(fleet.view().accepting) == 2, "every replica is linked")
    try:
        yield Gateway(name, fleet, dispatch, ear)
    finally:
        await fleet.stop()
        assert cluster.debits == (), "nothing is promised any more"
        await ear.close()
        await registry.close()


async def hits_while(made: Yard, requests: int) -> float:
    """Share of the next requests that found their prefix."""
    before = [(gateway.served, gateway.hits) for gateway in made.gateways]
    await made.serve(requests)
    served = sum(g.served - s for g, (s, _) in zip(made.gateways, before, strict=True))
    hits = sum(g.hits - h for g, (_, h) in zip(made.gateways, before, strict=True))
    return hits / served


async def test_a_killed_server_that_comes_back_empty(valkey: EmbeddedValkey) -> None:
    async with yard(valkey.url) as made:
        await made.until_whole()
        os.kill(valkey.pid, signal.SIGKILL)
        valkey.stop()
        await made.until_missed()
        assert await hits_while(made, 40) == 1.0, "prefixes are where they were"
        valkey.start()
        await made.until_whole()


async def test_a_server_that_hangs_for_longer_than_a_lease(valkey: EmbeddedValkey) -> None:
    async with yard(valkey.url) as made:
        await made.until_whole()
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            await made.until_missed()
            assert await hits_while(made, 40) == 1.0
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        await made.until_whole()


async def test_a_server_that_is_flushed(valkey: EmbeddedValkey, admin: Redis) -> None:
    async with yard(valkey.url) as made:
        await made.until_whole()
        await admin.flushall()
        await made.serve(40)
        await made.until_whole()


# redis-py leaves a connection to a Sentinel to the collector when its attempt is cut off.
CUT_OFF = pytest.mark.filterwarnings(
    "ignore:(?s).*unclosed:pytest.PytestUnraisableExceptionWarning", "ignore:unclosed"
)


@CUT_OFF
async def test_a_master_that_is_killed_and_whose_standby_takes_over(tmp_path: Path) -> None:
    """Replicas and gateways find the new master through the Sentinels, under the same URL."""
    with watched(tmp_path) as servers:
        async with yard(servers.url) as made:
            await made.until_whole()
            before = servers.master()
            before.kill()
            await made.serve(40)
            await until(lambda: servers.master() is not before, "the Sentinels have another one")
            await made.until_whole()
            assert servers.master().ask("DBSIZE"), "and that is where everything is"


@CUT_OFF
async def test_a_master_that_is_told_to_hand_over(tmp_path: Path) -> None:
    """Both live on, and the old one would still answer who reads."""
    with watched(tmp_path) as servers:
        async with yard(servers.url) as made:
            await made.until_whole()
            before = servers.master()
            await until(servers.hands_over, "a Sentinel finds the standby fit")
            await until(lambda: servers.master() is not before, "the Sentinels have another one")
            await made.serve(20)
            await made.until_whole()
