"""A scenario's faults, made to happen in a simulated world.

Each returns when it is over, and leaves the world as whole as it found it.
Faults may overlap: what two of them hold ends with the later one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from orchestrator.chaos.faults import (
    Break,
    Delay,
    FailOver,
    Fault,
    Flush,
    Kill,
    Loss,
    Part,
    Pause,
    Restart,
    Scale,
    Skew,
    Slow,
    TimedFault,
)
from orchestrator.chaos.holds import Holds
from orchestrator.chaos.strict import kind_of
from orchestrator.chaos.world import CannotDo, Struck
from orchestrator.sim.chaos.lags import Lags
from orchestrator.sim.chaos.members import Host, Members
from orchestrator.sim.hosts import ControlHost, GatewayHost, ReplicaHost
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.registry_way import REDIS
from orchestrator.sim.world import World

GRACE_S = 10.0  # that a replica which leaves in order has for what it runs
PAUSE_S = 0.5  # between one orderly restart and the next
REDIS_CALL_S = 0.0002  # what a call takes that a slow Redis multiplies
FAIL_OVER_S = 1.0  # until the replica of Redis has taken over
REPLICATION_S = 0.05  # by which it was behind


class Strikes:
    """Faults of one play; `struck` says what happened when."""

    def __init__(
        self, faults: Sequence[TimedFault], seed: int, tell: Callable[[str], None]
    ) -> None:
        self.struck: list[Struck] = []
        self._faults = sorted(faults, key=lambda timed: timed.at_s)
        self._seed = seed
        self._tell = tell
        self._holds = Holds()

    async def strike(self, world: World) -> None:
        self._world = world
        self._members = Members(world)
        self._lags = Lags(world.network, Random(f"lags {self._seed}"))
        self._began_ns = world.clock.now_ns()
        async with asyncio.TaskGroup() as striking:
            for timed in self._faults:
                left_s = timed.at_s - self._now_s()
                if left_s > 0:
                    await world.clock.sleep(left_s)
                striking.create_task(self._strike(timed))
        self.struck.sort(key=lambda struck: (struck.began_s, struck.ended_s))

    def _now_s(self) -> float:
        return (self._world.clock.now_ns() - self._began_ns) / NS_PER_S

    async def _strike(self, timed: TimedFault) -> None:
        began_s = self._now_s()
        self._tell(f"{began_s:7.3f} s  {kind_of(timed.fault)}: {timed.fault}")
        await self._do(timed.fault)
        self.struck.append(Struck(timed, began_s, self._now_s()))

    async def _do(self, fault: Fault) -> None:
        sleep = self._world.clock.sleep
        match fault:
            case Kill(who, seconds):
                await self._kill(who, seconds)
            case Pause(who, seconds):
                await self._pause(who, seconds)
            case Slow(who, times, seconds):
                await self._slow(who, times, seconds)
            case Restart(who):
                for name in who:
                    await self._restart(name)
                    await sleep(PAUSE_S)
            case Flush():
                self._world.registry.forget_all()
            case FailOver():
                await self._fail_over()
            case Delay(one, other, delay_s, seconds):
                await self._lag(one, other, lambda: delay_s, seconds)
            case Loss(one, other, share, seconds):
                await self._lag(one, other, self._lags.resent(share, seconds), seconds)
            case Part(one, other, seconds):
                pairs = self._pairs(one, other)
                await self._part(pairs, seconds)
            case Break(one, other):
                for near, far in self._pairs(one, other):
                    self._world.network.break_between(near, far)
            case Skew(who, seconds):
                for node in self._members.nodes(who):
                    self._world.clocks[node].jump(round(seconds * NS_PER_S))
            case Scale(replicas):
                await self._scale(replicas)

    # ---- processes

    async def _kill(self, who: str, seconds: float) -> None:
        world = self._world
        if who == REDIS:
            world.registry.forget_all()
            await self._redis_down(seconds)
            return
        hosts = self._members.hosts(who)
        for host in hosts:
            await self._end(host)
        await world.clock.sleep(seconds)
        for host in hosts:
            await self._begin(host)

    async def _redis_down(self, seconds: float) -> None:
        registry = self._world.registry
        self._holds.begin("down", lambda: setattr(registry, "is_down", True))
        await self._world.clock.sleep(seconds)
        self._holds.end("down", lambda: setattr(registry, "is_down", False))

    async def _end(self, host: Host) -> None:
        match host:
            case GatewayHost():
                await host.kill()
            case ReplicaHost() | ControlHost():
                host.kill()

    async def _begin(self, host: Host) -> None:
        match host:
            case GatewayHost():
                await host.start()
            case ReplicaHost() | ControlHost():
                host.start(self._world.tasks)

    async def _restart(self, who: str) -> None:
        """A gateway's clients are cut as by a kill: what they do then is the same."""
        if who == REDIS:
            await self._kill(who, PAUSE_S)
            return
        for host in self._members.hosts(who):
            match host:
                case ReplicaHost():
                    await host.stop(GRACE_S)
                case _:
                    await self._end(host)
            await self._begin(host)

    async def _scale(self, replicas: int) -> None:
        world = self._world
        while len(world.replicas) < replicas:
            world.add_replica()
        for host in world.replicas[:replicas]:
            host.start(world.tasks)
        for host in reversed(world.replicas[replicas:]):
            await host.stop(GRACE_S)

    # ---- processes that go on

    async def _pause(self, who: str, seconds: float) -> None:
        """Nothing gets in or out of it, and no step of it ends."""
        if who == REDIS:
            everybody = [(node, REDIS) for node in self._members.all_nodes() if node != REDIS]
            await self._part(everybody, seconds)
            return
        hosts = self._members.hosts(who)
        others = self._members.all_nodes()
        pairs = [(h.name, other) for h in hosts for other in others if other != h.name]
        for host in hosts:
            self._freeze(host, seconds)
        await self._part(pairs, seconds)

    def _freeze(self, host: Host, seconds: float) -> None:
        until_ns = self._world.clock.now_ns() + round(seconds * NS_PER_S)
        if isinstance(host, ReplicaHost) and host.life is not None:
            executor = host.life.executor
            executor.frozen_until_ns = max(executor.frozen_until_ns, until_ns)

    async def _slow(self, who: str, times: float, seconds: float) -> None:
        if who == REDIS:
            delay_s = REDIS_CALL_S * times
            nodes = [node for node in self._members.all_nodes() if node != REDIS]
            await asyncio.gather(
                *(self._lag(node, REDIS, lambda: delay_s / 2, seconds) for node in nodes)
            )
            return
        hosts = self._members.hosts(who)
        executors = [
            host.life.executor
            for host in hosts
            if isinstance(host, ReplicaHost) and host.life is not None
        ]
        for executor in executors:
            executor.slowness *= round(times)
        await self._world.clock.sleep(seconds)
        for executor in executors:
            executor.slowness //= round(times)

    # ---- Redis

    async def _fail_over(self) -> None:
        """The last writes are lost: they had not reached the replica."""
        registry = self._world.registry
        go_back = registry.remembered()
        await self._world.clock.sleep(REPLICATION_S)
        go_back()
        await self._redis_down(FAIL_OVER_S)

    # ---- ways

    def _pairs(self, one: str, other: str) -> list[tuple[str, str]]:
        nodes = self._members.nodes
        return [(near, far) for near in nodes(one) for far in nodes(other) if near != far]

    async def _part(self, pairs: Sequence[tuple[str, str]], seconds: float) -> None:
        network = self._world.network
        for near, far in pairs:
            self._holds.begin(frozenset({near, far}), partial(network.part, near, far))
        await self._world.clock.sleep(seconds)
        for near, far in pairs:
            self._holds.end(frozenset({near, far}), partial(network.join, near, far))

    async def _lag(self, one: str, other: str, lag_s: Callable[[], float], seconds: float) -> None:
        pairs = self._pairs(one, other)
        for near, far in pairs:
            self._lags.add(near, far, lag_s)
        await self._world.clock.sleep(seconds)
        for near, far in pairs:
            self._lags.remove(near, far, lag_s)


def check_doable(faults: Sequence[TimedFault]) -> None:
    """Raises CannotDo for what has no counterpart here."""
    for timed in faults:
        match timed.fault:
            case Skew(who) if who.startswith(("replica", "node", REDIS)):
                raise CannotDo(f"skew of {who}: simulated replicas and Redis have no clock of date")
            case Slow(who) if not who.startswith(("replica", REDIS)):
                raise CannotDo(f"slow of {who}: only replicas and Redis take time in the simulator")
            case _:
                pass
