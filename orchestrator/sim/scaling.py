"""Serve's part in a simulated world: replicas come and go as the policy says.

Every second the production policy is shown what the replicas report and how
long the gateways' lines are. A new replica takes its time to start, and opens
once it has fetched what most requests begin with; the newest ones leave first,
each by a stop in order that moves out what it runs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from orchestrator.policy.scale import (
    Calm,
    ScaleConfig,
    ScaleReason,
    ScaleView,
    load_of,
    replicas_wanted,
)
from orchestrator.sim.hosts import ReplicaHost
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.world import World

LOOK_S = 1.0
GRACE_S = 20.0  # of a replica that leaves


@dataclass(frozen=True, slots=True)
class Scaled:
    """The number of replicas was changed."""

    at_s: float
    count: int
    reason: ScaleReason


@dataclass(slots=True)
class Scaling:
    """`Faults` of a world that grows and shrinks from what it begins with, for `seconds`."""

    config: ScaleConfig
    start_s: float  # until a new replica has loaded its weights
    seconds: float
    changes: list[Scaled] = field(default_factory=list)

    async def strike(self, world: World) -> None:
        hosts = list(world.replicas)  # those that are wanted, the newest last
        calm: Calm | None = None
        began_ns = world.clock.now_ns()
        async with asyncio.TaskGroup() as changing:
            while (now_ns := world.clock.now_ns() - began_ns) < self.seconds * NS_PER_S:
                scale = replicas_wanted(view_of(world, hosts, calm), self.config)
                calm = scale.calm
                if scale.count != len(hosts):
                    self.changes.append(Scaled(now_ns / NS_PER_S, scale.count, scale.reason))
                while len(hosts) < scale.count:
                    hosts.append(world.add_replica())
                    changing.create_task(self._start(world, hosts[-1]))
                while len(hosts) > scale.count:
                    changing.create_task(hosts.pop().stop(GRACE_S))
                await world.clock.sleep(LOOK_S)

    async def _start(self, world: World, host: ReplicaHost) -> None:
        await world.clock.sleep(self.start_s)
        host.start(world.tasks)


def view_of(world: World, hosts: list[ReplicaHost], calm: Calm | None) -> ScaleView:
    """As Serve shows it: what replicas that run report, and what waits in gateways' lines."""
    gateways = [host.life for host in world.gateways if host.life is not None]
    return ScaleView(
        now_ns=world.clock.now_ns(),
        target=len(hosts),
        ready=tuple(
            load_of(host.life.replica.snapshot()) for host in hosts if host.life is not None
        ),
        line_requests=sum(life.dispatch.waiting for life in gateways),
        calm=calm,
    )
