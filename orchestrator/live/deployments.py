"""The cluster's processes as actors of Ray Serve (app.py says how many, and with what).

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
from dataclasses import replace
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from orchestrator.config import Deployment
from orchestrator.live.autoscaling import Lines, figures, tell_line
from orchestrator.live.control_plane import ControlPlaneServer
from orchestrator.live.gateway import build_gateway
from orchestrator.live.registry_url import connect_registry
from orchestrator.live.replica import built, config_of
from protos.address import CannotListen
from protos.logs import log_to_stderr
from protos.messages import ReplicaId
from protos.transport import Transport

# For a new replica to fetch what most requests begin with, where others may have it. Longer than
# nobody leads when the leading control plane has died, which is some 4 s.
WARM_MS = 6_000


def advertised_host(deployment: Deployment) -> str:
    """How other processes reach this node: loopback on a laptop, the node's address elsewhere."""
    if deployment.advertise_host is not None:
        return deployment.advertise_host
    if deployment.host != "0.0.0.0":
        return deployment.host
    return node_address()


def on_this_node(deployment: Deployment) -> Deployment:
    """The same, with the address that listeners bind to here."""
    if deployment.host != "node":
        return deployment
    return deployment.model_copy(update={"host": node_address()})


def node_address() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


class ReplicaActor:
    """One engine on one GPU (or one CPU thread)."""

    async def __init__(self, deployment: Deployment) -> None:  # type: ignore[misc]
        log_to_stderr(deployment.log_level, deployment.log_format)
        deployment = on_this_node(deployment)
        self._drain_s = deployment.drain_s
        self._lines = Lines()
        self._registry = connect_registry(deployment)
        config = replace(
            config_of(ReplicaId(serve.get_replica_context().replica_id.unique_id), deployment),
            advertise_host=advertised_host(deployment),
            warm_ms=WARM_MS if deployment.replicas_most > 1 else 0,
        )
        self._replica = await built(config, deployment, self._registry)
        await self._replica.start()

    async def check_health(self) -> None:
        self._replica.check_health()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What Serve shows our policy, where the number of replicas is not fixed."""
        return figures(self._replica.snapshot()) | self._lines.figures()

    async def hear_line(self, gateway: str, requests: int) -> None:
        """How long a gateway's line is, to be passed on with this replica's own figures."""
        self._lines.hear(gateway, requests)

    async def __del__(self) -> None:
        await self._replica.stop(self._drain_s)
        await self._registry.close()


class ControlPlaneActor:
    """The cluster view fed by the replicas' reports, and the operator's verbs."""

    async def __init__(self, deployment: Deployment) -> None:  # type: ignore[misc]
        log_to_stderr(deployment.log_level, deployment.log_format)
        deployment = on_this_node(deployment)
        self._deployment = deployment
        self._registry = connect_registry(deployment)
        self._server = self._listening_at(deployment.control_port, deployment.metrics_port)
        try:
            await self._server.start()
        except CannotListen:
            if deployment.control_planes == 1:
                raise
            # Another one of them has the port; replicas find the leader by the registry.
            self._server = self._listening_at(0, None)
            await self._server.start()

    def _listening_at(self, port: int, metrics_port: int | None) -> ControlPlaneServer:
        return ControlPlaneServer(
            self._registry,
            host=self._deployment.host,
            port=port,
            advertise_host=advertised_host(self._deployment),
            health_port=self._deployment.health_port,
            metrics_port=metrics_port,
            transport=Transport(self._deployment.internal_tls),
        )

    async def check_health(self) -> None:
        self._server.check_health()

    async def __del__(self) -> None:
        await self._server.stop()
        await self._registry.close()


@serve.ingress()
class GatewayActor:
    """HTTP and gRPC front doors on ports of their own, and the same app as Serve's ingress."""

    async def __init__(  # type: ignore[misc]
        self, deployment: Deployment, replicas: DeploymentHandle[Any], *_dependencies: object
    ) -> None:
        log_to_stderr(deployment.log_level, deployment.log_format)
        deployment = on_this_node(deployment)
        self._drain_s = deployment.drain_s
        self._gateway = await build_gateway(deployment)
        await self._gateway.start()
        self._telling: asyncio.Task[None] | None = None
        if deployment.replicas_least < deployment.replicas_most:
            name = serve.get_replica_context().replica_id.unique_id
            dispatch = self._gateway.dispatch
            telling = tell_line(replicas, name, lambda: dispatch.waiting)
            self._telling = asyncio.create_task(telling)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._gateway.app

    async def check_health(self) -> None:
        self._gateway.server.check_health()

    async def __del__(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        await self._gateway.stop(self._drain_s)
