"""What is left of a world when everything that was asked has ended: nothing.

Each promise, place, parked choice, move and lease is somebody's memory of
work. The checks here go through all that lives and remembers: replicas,
gateways with their links, leaders, and the registry's belief in all of them.
What only needs time (a grace, a lease, an event on its way) is given it by the
world, which asks again until all is well or its patience ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from orchestrator.sim.hosts import ControlHost, GatewayHost, ReplicaHost
from orchestrator.sim.link import SimLink
from orchestrator.sim.replica import SimReplica
from orchestrator.sim.watched_registry import WatchedRegistry
from protos.messages import ReplicaId, Standing

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Rest:
    """All that may have kept something."""

    replicas: Sequence[ReplicaHost]
    gateways: Sequence[GatewayHost]
    control_planes: Sequence[ControlHost]
    links: Sequence[SimLink]
    registry: WatchedRegistry

    def checks(self) -> Iterator[Check]:
        """Each raises AssertionError, whose sentence says who kept what."""
        yield from self._awaited()
        for host in self.replicas:
            if host.life is not None:
                yield host.life.replica.engine.check

    def _awaited(self) -> Iterator[Check]:
        """What time may heal. It is looked at again and again, so no block is."""
        for host in self.replicas:
            if host.life is None:
                yield partial(check_gone, host.name, self.registry)
            else:
                replica = host.life.replica
                yield partial(check_replica, replica)
                yield partial(check_handed_over, replica)
                yield partial(check_registry, replica, self.registry)
        for gateway in self.gateways:
            yield partial(check_gateway, gateway)
        for link in self.links:
            yield partial(check_link, link)
        for control_plane in self.control_planes:
            yield partial(check_control_plane, control_plane)

    def is_reached(self) -> bool:
        """Whether nothing is on its way any more, and nobody is waited for."""
        return not any(map(is_broken, self._awaited()))


def is_broken(check: Check) -> bool:
    try:
        check()
    except AssertionError:
        return True
    return False


def check_replica(replica: SimReplica) -> None:
    """A replica without work holds no block for anybody."""
    name = replica.record.replica_id
    assert replica.engine.is_idle, f"{name} still has work"
    standing = replica.reported.door.standing
    assert standing is Standing.OPEN, f"{name} is {standing.value}, and nobody wants it so"
    used = replica.snapshot().blocks_used
    assert used == 0, f"{name} is idle and {used} of its blocks are in use"


def check_handed_over(replica: SimReplica) -> None:
    """Nothing waits for a gateway, nothing comes or goes."""
    name, parked, moves = replica.record.replica_id, replica.parked, replica.mover.under_way
    assert not parked, f"{name} keeps {parked} choices that no gateway asks for"
    assert not moves, f"{name} is idle and {moves} of its moves have no end"


def check_registry(replica: SimReplica, registry: WatchedRegistry) -> None:
    """Once everything was published, the registry believes what the replica says."""
    name = replica.record.replica_id
    believed, held = registry.believed(name), set(replica.engine.inventory())
    assert believed == held, (
        f"the registry believes {name} to hold {len(believed - held)} blocks that it does not"
        f" hold, and misses {len(held - believed)}"
    )
    listed, epoch = registry.epoch(name), replica.snapshot().epoch
    assert listed == epoch, f"the registry lists {name} in epoch {listed}, it is in {epoch}"


def check_gone(name: str, registry: WatchedRegistry) -> None:
    """Nobody is sent to a replica that is no more."""
    epoch = registry.epoch(ReplicaId(name))
    assert epoch is None, f"the registry lists {name} in epoch {epoch}, and it is gone"


def check_gateway(host: GatewayHost) -> None:
    """No request is answered, waits or is promised anything."""
    name, life = host.name, host.life
    if life is None:
        return
    answered, unplaced = len(life.handlers), life.dispatch.unplaced
    assert not answered, f"{name} still answers {answered} requests"
    assert not unplaced, f"{name} keeps {unplaced} requests waiting, and nobody asks"
    debits = life.cluster.debits
    assert not debits, f"{name} keeps {len(debits)} promises, the first to {debits[0].replica_id}"


def check_link(link: SimLink) -> None:
    """Nothing is followed that nobody asks for."""
    followed = link.following
    assert not followed, f"{link.name} still follows {followed} choices"


def check_control_plane(host: ControlHost) -> None:
    """No leader waits for a move."""
    leading = None if host.life is None else host.life.orchestrator
    if leading is not None:
        moves = leading.moves.under_way()
        assert not moves, f"{host.name} waits for the end of {len(moves)} moves"
