"""What goes wrong in a world, and when: plain data that is drawn from a seed.

Every fault heals itself after a while, and at the end of a schedule everything
is whole: processes run, ways are joined, the registry answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from orchestrator.control.events import MoveRequested, StandingRequested
from orchestrator.control.orchestrator import Orchestrator
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.world import World
from protos.messages import ReplicaId, Standing
from protos.moves import MoveId, MoveOrder, Peer

RESENT_S = 0.2  # after which a packet that was lost is sent again: TCP's least


class Fault(Protocol):
    """One thing that goes wrong; returns when it is over."""

    async def strike(self, world: World) -> None: ...


@dataclass(frozen=True, slots=True)
class ReplicaDies:
    replica: int
    seconds: float

    async def strike(self, world: World) -> None:
        world.replicas[self.replica].kill()
        await world.clock.sleep(self.seconds)
        world.replicas[self.replica].start(world.tasks)


@dataclass(frozen=True, slots=True)
class ReplicaStops:
    """In order, as in a rolling update; then its successor starts."""

    replica: int
    grace_s: float

    async def strike(self, world: World) -> None:
        host = world.replicas[self.replica]
        await host.stop(self.grace_s)
        host.start(world.tasks)


@dataclass(frozen=True, slots=True)
class RollingUpdate:
    """Every replica is replaced, one after the other."""

    grace_s: float

    async def strike(self, world: World) -> None:
        for number in range(len(world.replicas)):
            await ReplicaStops(number, self.grace_s).strike(world)
            await world.clock.sleep(0.5)


@dataclass(frozen=True, slots=True)
class ReplicaSlows:
    """Its steps take so many times as long: a hang, if it is many."""

    replica: int
    times: int
    seconds: float

    async def strike(self, world: World) -> None:
        life = world.replicas[self.replica].life
        if life is not None:
            life.executor.slowness *= self.times
            await world.clock.sleep(self.seconds)
            life.executor.slowness //= self.times


@dataclass(frozen=True, slots=True)
class WayBreaks:
    """All connections between two nodes, once."""

    one: str
    other: str

    async def strike(self, world: World) -> None:
        world.network.break_between(self.one, self.other)


@dataclass(frozen=True, slots=True)
class WayParts:
    """Nothing gets through for a while; nobody is told."""

    one: str
    other: str
    seconds: float

    async def strike(self, world: World) -> None:
        world.network.part(self.one, self.other)
        await world.clock.sleep(self.seconds)
        world.network.join(self.one, self.other)


@dataclass(frozen=True, slots=True)
class WayLags:
    """What two nodes send each other is late, each message by another time, up to `most_s`.

    So messages on different ways overtake one another, announcements of one way too. Of the
    packets a share is lost, and comes when it has been sent again.
    """

    one: str
    other: str
    most_s: float
    lost: float
    seconds: float
    seed: int

    async def strike(self, world: World) -> None:
        random = Random(self.seed)

        def lag_s() -> float:
            resent_s = RESENT_S if random.random() < self.lost else 0.0
            return random.random() * self.most_s + resent_s

        world.network.lag(self.one, self.other, lag_s)
        await world.clock.sleep(self.seconds)
        world.network.lag(self.one, self.other, None)


@dataclass(frozen=True, slots=True)
class ClockJumps:
    """One node's clock is set forward, and no other one's."""

    node: str
    seconds: float

    async def strike(self, world: World) -> None:
        world.clocks[self.node].jump(round(self.seconds * NS_PER_S))


@dataclass(frozen=True, slots=True)
class RegistryFails:
    seconds: float

    async def strike(self, world: World) -> None:
        world.registry.is_down = True
        await world.clock.sleep(self.seconds)
        world.registry.is_down = False


@dataclass(frozen=True, slots=True)
class RegistrySlows:
    seconds: float
    delay_s: float

    async def strike(self, world: World) -> None:
        world.registry.delay_s = self.delay_s
        await world.clock.sleep(self.seconds)
        world.registry.delay_s = 0.0


@dataclass(frozen=True, slots=True)
class RegistryForgets:
    async def strike(self, world: World) -> None:
        world.registry.forget_all()


@dataclass(frozen=True, slots=True)
class GatewayDies:
    gateway: int
    seconds: float

    async def strike(self, world: World) -> None:
        host = world.gateways[self.gateway]
        await host.kill()
        await world.clock.sleep(self.seconds)
        await host.start()


@dataclass(frozen=True, slots=True)
class ControlPlaneDies:
    control_plane: int
    seconds: float

    async def strike(self, world: World) -> None:
        host = world.control_planes[self.control_plane]
        host.kill()
        await world.clock.sleep(self.seconds)
        host.start(world.tasks)


@dataclass(frozen=True, slots=True)
class OperatorStands:
    """An operator cordons or drains a replica, and later takes it back."""

    replica: int
    standing: Standing
    seconds: float

    async def strike(self, world: World) -> None:
        self._ask(world, self.standing)
        await world.clock.sleep(self.seconds)
        life = world.replicas[self.replica].life
        while life is not None and life.replica.reported.door.standing is not Standing.OPEN:
            self._ask(world, Standing.OPEN)
            await world.clock.sleep(0.5)
            life = world.replicas[self.replica].life
            if leader(world) is None and life is not None:
                await life.replica.stand(Standing.OPEN)

    def _ask(self, world: World, standing: Standing) -> None:
        replica_id = ReplicaId(world.replicas[self.replica].name)
        for host in world.control_planes:
            if host.life is not None:
                host.life.apply(StandingRequested(replica_id, standing))


@dataclass(frozen=True, slots=True)
class SequencesMove:
    """Of one replica's sequences so many are ordered to another one, or handed back."""

    move: int
    source: int
    target: int | None
    count: int

    async def strike(self, world: World) -> None:
        source = world.replicas[self.source].life
        if source is None:
            return
        peer = None
        if self.target is not None:
            target = world.replicas[self.target].life
            if target is None:
                return
            record = target.replica.record
            peer = Peer(record.replica_id, record.address, target.replica.snapshot().epoch)
        sequences = source.replica.reported.links.sequences(self.count)
        for number, sequence in enumerate(sequences):
            move_id = MoveId(f"forced-{self.move}-{number}")
            order = MoveOrder(move_id, sequence.sequence_id, peer, deadline_ms=5000)
            source.replica.mover.order(order)


@dataclass(frozen=True, slots=True)
class OperatorMoves:
    """The same by way of the control plane."""

    move: int
    source: int
    target: int

    async def strike(self, world: World) -> None:
        life = world.replicas[self.source].life
        if life is None:
            return
        for sequence in life.replica.reported.links.sequences(1):
            source, target = (
                ReplicaId(world.replicas[number].name) for number in (self.source, self.target)
            )
            wanted = MoveRequested(
                MoveId(f"wanted-{self.move}"), source, sequence.sequence_id, target
            )
            for host in world.control_planes:
                if host.life is not None:
                    host.life.apply(wanted)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Faults and when they strike, in ns from the first request on."""

    faults: Sequence[tuple[int, Fault]]

    async def strike(self, world: World) -> None:
        began_ns = world.clock.now_ns()
        async with asyncio.TaskGroup() as striking:
            for at_ns, fault in sorted(self.faults, key=lambda entry: entry[0]):
                due_ns = began_ns + at_ns
                if due_ns > world.clock.now_ns():
                    await world.clock.sleep((due_ns - world.clock.now_ns()) / NS_PER_S)
                striking.create_task(fault.strike(world))


def leader(world: World) -> Orchestrator | None:
    """The brain of whoever leads now."""
    for host in world.control_planes:
        if host.life is not None and host.life.orchestrator is not None:
            return host.life.orchestrator
    return None
