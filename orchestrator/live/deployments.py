"""The cluster's processes as Ray Serve deployments.

Serve places them, restarts them, checks their health and rolls their updates;
tokens never pass through it. Each actor owns its listeners: a replica its
data service, a gateway HTTP and gRPC, the control plane its own gRPC. They
find each other through Redis alone, so a restarted process needs no address
handed to it.

A gateway's ASGI app is also its Serve ingress, so that a Serve proxy, where
one runs, answers with the very same routes.
"""

from __future__ import annotations

import asyncio
import logging

import ray
from fastapi import FastAPI
from ray import serve

from orchestrator.config import ClusterConfig
from orchestrator.gateway.server import GatewayServer
from orchestrator.live.control_plane import ControlPlaneServer
from orchestrator.live.gateway import build_gateway
from orchestrator.registry.redis import RedisRegistry
from protos.messages import ReplicaId
from replicas.config import ReplicaConfig
from replicas.serving.build import build_replica

# A request never enters an actor through a Serve handle, but health checks do.
HANDLE_CALLS_MAX = 100
HEALTH_PERIOD_S = 1.0
HEALTH_TIMEOUT_S = 10.0


def advertised_host(config: ClusterConfig) -> str:
    """How other processes reach this node: loopback on a laptop, the node's address elsewhere."""
    if config.advertise_host is not None:
        return config.advertise_host
    return str(ray.util.get_node_ip_address()) if config.host == "0.0.0.0" else config.host


@serve.deployment(
    name="replica",
    max_ongoing_requests=HANDLE_CALLS_MAX,
    health_check_period_s=HEALTH_PERIOD_S,
    health_check_timeout_s=HEALTH_TIMEOUT_S,
)
class ReplicaDeployment:
    """One engine on one GPU (or one CPU thread)."""

    async def __init__(self, config: ClusterConfig) -> None:
        self._drain_s = config.drain_s
        self._registry = RedisRegistry(config.redis_url)
        replica_config = ReplicaConfig(
            replica_id=ReplicaId(serve.get_replica_context().replica_id.unique_id),
            host=config.host,
            advertise_host=advertised_host(config),
        )
        # Weights load in a thread: the actor answers health checks meanwhile.
        self._replica = await asyncio.to_thread(
            build_replica,
            replica_config,
            model=config.model,
            device=config.device,
            dtype=config.dtype,
            blocks_total=config.blocks,
            block_size=config.block_size,
            registry=self._registry,
            directory=self._registry,
        )
        self._address = await self._replica.start()

    def address(self) -> str:
        return self._address

    async def check_health(self) -> None:
        self._replica.check_health()

    async def __del__(self) -> None:
        await self._replica.stop(self._drain_s)
        await self._registry.close()


@serve.deployment(
    name="control-plane",
    max_ongoing_requests=HANDLE_CALLS_MAX,
    health_check_period_s=HEALTH_PERIOD_S,
    health_check_timeout_s=HEALTH_TIMEOUT_S,
)
class ControlPlaneDeployment:
    """The cluster view fed by the replicas' reports, and the operator's verbs."""

    async def __init__(self, config: ClusterConfig) -> None:
        self._registry = RedisRegistry(config.redis_url)
        self._server = ControlPlaneServer(
            self._registry,
            host=config.host,
            port=config.control_port,
            advertise_host=advertised_host(config),
        )
        self._address = await self._server.start()

    def address(self) -> str:
        return self._address

    async def __del__(self) -> None:
        await self._server.stop()
        await self._registry.close()


@serve.deployment(
    name="gateway",
    max_ongoing_requests=HANDLE_CALLS_MAX,
    health_check_period_s=HEALTH_PERIOD_S,
    health_check_timeout_s=HEALTH_TIMEOUT_S,
)
@serve.ingress()
class GatewayDeployment:
    """HTTP and gRPC front doors on ports of their own, and the same app as Serve's ingress."""

    async def __init__(self, config: ClusterConfig, *_dependencies: object) -> None:
        self._drain_s = config.drain_s
        self._gateway = build_gateway(config)
        self._server: GatewayServer = await self._gateway.start()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._server.app

    async def __del__(self) -> None:
        await self._gateway.stop(self._drain_s)


logging.getLogger("httpx").setLevel(logging.WARNING)
