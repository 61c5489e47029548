"""Who is meant by a name of a scenario: hosts of the simulated world, and nodes of its network."""

from __future__ import annotations

from orchestrator.chaos.faults import CLIENTS
from orchestrator.chaos.world import CannotDo
from orchestrator.sim.hosts import ControlHost, GatewayHost, ReplicaHost
from orchestrator.sim.registry_way import REDIS
from orchestrator.sim.world import World

Host = ReplicaHost | GatewayHost | ControlHost


class Members:
    """Finds them when they are asked for: who leads changes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def hosts(self, name: str) -> tuple[Host, ...]:
        """Of a node the replica first; nobody for a leader where nobody leads."""
        kind, _, number = name.partition("-")
        match kind:
            case "replica":
                return (self._world.replicas[int(number)],)
            case "gateway":
                return (self._world.gateways[int(number)],)
            case "control":
                return (self._world.control_planes[int(number)],)
            case "node":
                return (self._world.replicas[int(number)], self._world.gateways[int(number)])
            case "leader":
                return tuple(host for host in self._world.control_planes if leads(host))
            case _:
                raise CannotDo(f"{name} is no process of the simulated cluster")

    def nodes(self, name: str) -> tuple[str, ...]:
        """What the network calls them."""
        if name in (REDIS, CLIENTS):
            return (name,)
        return tuple(host.name for host in self.hosts(name))

    def all_nodes(self) -> tuple[str, ...]:
        world = self._world
        hosts: list[Host] = [*world.replicas, *world.gateways, *world.control_planes]
        return (*(host.name for host in hosts), REDIS, CLIENTS)


def leads(host: ControlHost) -> bool:
    return host.life is not None and host.life.orchestrator is not None
