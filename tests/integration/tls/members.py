"""A small cluster in one event loop, all of whose members speak mutual TLS."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.link_config import LinkConfig
from orchestrator.live.clock import OsClock
from orchestrator.live.control_door import ControlDoor
from orchestrator.live.control_plane import ControlPlaneConfig, ControlPlaneServer
from orchestrator.live.replica_client import GrpcReplicaClient
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.messages import ReplicaId
from protos.transport import Transport
from replicas.config import ReplicaConfig
from replicas.serving.build import build_replica
from replicas.serving.replica import Replica
from tests.integration.control.until import until

HOST = "127.0.0.1"
NAMES = ("a", "b")
HOUR_MS = 3_600_000
PATIENT = LinkConfig(silence_s_max=600)  # of a machine that does much else


@dataclass(frozen=True)
class Members:
    """Two replicas, a control plane and the inner half of a gateway."""

    dispatch: Dispatch
    control: ControlDoor
    addresses: dict[str, str]  # of the replicas, by name

    @property
    def ports(self) -> list[str]:
        """Wherever a member listens."""
        return [self.control.address, *self.addresses.values()]


def tiny(name: str, folder: Path, registry: MemoryRegistry, health_port: int | None) -> Replica:
    config = ReplicaConfig(
        ReplicaId(name), report_interval_ms=20, internal_tls=folder, health_port=health_port
    )
    return build_replica(
        config,
        model="tiny",
        device="cpu",
        dtype="float32",
        blocks_total=400,
        registry=registry,
        directory=registry,
    )


@asynccontextmanager
async def members(folder: Path, *, health_port: int | None = None) -> AsyncIterator[Members]:
    """All of them with the certificates in `folder`; `health_port` is the first replica's."""
    registry = MemoryRegistry(time.monotonic_ns, RegistryConfig(lease_ms=HOUR_MS))
    transport = Transport(folder)
    plane = ControlPlaneServer(
        registry,
        host=HOST,
        port=0,
        advertise_host=HOST,
        transport=transport,
        config=ControlPlaneConfig(tick_s=0.02, lease_s=HOUR_MS / 1000, stop_grace_s=0.0),
    )
    clock, cluster = OsClock(), Cluster(ClusterConfig())
    connect = partial(GrpcReplicaClient, config=PATIENT, transport=transport)
    fleet = Fleet(registry, connect, cluster, clock, FleetConfig(refresh_s=0.02))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(plane.stop)
        control = ControlDoor(await plane.start(), transport)
        addresses = {}
        for name in NAMES:
            probed = health_port if name == NAMES[0] else None
            replica = tiny(name, folder, registry, probed)
            stack.push_async_callback(replica.stop, 0)
            addresses[name] = await replica.start()
        await fleet.start()
        stack.push_async_callback(fleet.stop)
        await until(lambda: len(fleet.view().accepting) == len(NAMES), "every replica is linked")
        yield Members(
            Dispatch(fleet, cluster, registry, clock, DispatchConfig()), control, addresses
        )
