"""Where processes live: each host runs one life of a process after another.

A life that is killed ends without a word: its connections break, its tasks are
no more. What it had in memory is lost; its name stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from orchestrator.control.cluster import Cluster
from orchestrator.gateway.dispatch import Dispatch
from orchestrator.gateway.fleet import Fleet
from orchestrator.sim.control_plane import SimControlPlane
from orchestrator.sim.executor import CostExecutor
from orchestrator.sim.network import Network
from orchestrator.sim.replica import SimReplica


@dataclass(frozen=True, slots=True)
class ReplicaLife:
    replica: SimReplica
    executor: CostExecutor
    task: asyncio.Task[None]


class ReplicaHost:
    """`make` builds a life; its number is part of the address."""

    def __init__(
        self,
        name: str,
        network: Network,
        make: Callable[[str, int], tuple[SimReplica, CostExecutor]],
    ) -> None:
        self.name = name
        self.ended: list[ReplicaLife] = []
        self.life: ReplicaLife | None = None
        self._network = network
        self._make = make
        self._lives = 0

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin a life, unless one is on."""
        if self.life is not None:
            return
        self._lives += 1
        replica, executor = self._make(self.name, self._lives)
        self.life = ReplicaLife(replica, executor, tasks.create_task(replica.run()))

    def kill(self) -> None:
        """The process dies. Idempotent."""
        life, self.life = self.life, None
        if life is not None:
            life.replica.hang_up()
            self._network.kill(self.name)
            life.task.cancel()
            self.ended.append(life)

    async def stop(self, grace_s: float) -> None:
        """The process ends in order."""
        life = self.life
        if life is not None:
            await life.replica.stop(grace_s)
            if self.life is life:
                self.kill()


@dataclass(frozen=True, slots=True)
class GatewayLife:
    fleet: Fleet
    dispatch: Dispatch
    cluster: Cluster
    handlers: set[asyncio.Task[None]]

    async def handle(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do the work of one client's connection; False where the gateway died under it.

        Raises what the work does.
        """
        handler = asyncio.ensure_future(work)
        self.handlers.add(handler)
        try:
            await asyncio.wait([handler])
        finally:
            self.handlers.discard(handler)
            handler.cancel()
            await asyncio.gather(handler, return_exceptions=True)
        if handler.cancelled():
            return False
        handler.result()
        return True


class GatewayHost:
    def __init__(
        self, name: str, network: Network, make: Callable[[str], tuple[Fleet, Dispatch, Cluster]]
    ) -> None:
        self.name = name
        self.ended: list[GatewayLife] = []
        self.life: GatewayLife | None = None
        self.network = network
        self._make = make

    async def start(self) -> None:
        if self.life is None:
            self.life = life = GatewayLife(*self._make(self.name), set())
            await life.fleet.start()

    async def kill(self) -> None:
        """The process dies, and with it every handler: their clients see a broken connection."""
        life, self.life = self.life, None
        if life is not None:
            self.network.kill(self.name)
            self.ended.append(life)
            for handler in life.handlers:
                handler.cancel()
            await life.fleet.stop()


class ControlHost:
    """A candidate for the lead; `make` builds a life of it."""

    def __init__(
        self, name: str, network: Network, make: Callable[[str, int], SimControlPlane]
    ) -> None:
        self.name = name
        self.life: SimControlPlane | None = None
        self._network = network
        self._make = make
        self._lives = 0
        self._task: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        if self.life is None:
            self._lives += 1
            self.life = self._make(self.name, self._lives)
            self._task = tasks.create_task(self.life.run())

    def kill(self) -> None:
        life, self.life = self.life, None
        if life is not None and self._task is not None:
            life.hang_up()
            self._network.kill(self.name)
            self._task.cancel()
