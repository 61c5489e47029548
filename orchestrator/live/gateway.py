"""A gateway put together for the live world: OS clock, Redis, gRPC links, two front doors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from socket import gethostname

from fastapi import FastAPI

from orchestrator.config import Deployment
from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.announcement_metrics import AnnouncementCollector
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.door_tls import DoorTls
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.fleet_metrics import FleetCollector
from orchestrator.gateway.http_protocol import HttpLimits
from orchestrator.gateway.link_config import LinkConfig
from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.gateway.own_model import OwnModel
from orchestrator.gateway.page.routes import add_page
from orchestrator.gateway.page.state import PageState
from orchestrator.gateway.server import GatewayServer
from orchestrator.gateway.service import Gateway
from orchestrator.gateway.tokenizer import load_tokenizer
from orchestrator.live.clock import OsClock
from orchestrator.live.delivery import tokenizer_source
from orchestrator.live.doorkeeper import Doorkeeper
from orchestrator.live.open_files import allow_connections
from orchestrator.live.registry_url import connect_announcer, connect_registry
from orchestrator.live.replica_client import GrpcReplicaClient
from orchestrator.policy.route import route
from orchestrator.registry.redis import RedisRegistry
from orchestrator.registry.redis_announcer import RedisAnnouncer
from orchestrator.replay.recording import Recording
from protos.address import host_port
from protos.otlp import Telemetry
from protos.transport import Transport
from replicas.model.source import ModelSource

MEET_S_MAX = 2.0  # a replica that is dead but listed holds the doors closed no longer


@dataclass(frozen=True, slots=True)
class LiveGateway:
    """Everything that one gateway process owns, started and stopped together."""

    recording: Recording | None
    registry: RedisRegistry
    announcer: RedisAnnouncer
    fleet: Fleet
    dispatch: Dispatch
    doorkeeper: Doorkeeper
    telemetry: Telemetry
    server: GatewayServer

    @property
    def app(self) -> FastAPI:
        return self.server.app

    async def start(self) -> None:
        """Both doors answer when this returns; readiness follows the first replica."""
        await self.fleet.start()
        await self.fleet.meet(MEET_S_MAX)
        await self.doorkeeper.start()
        await self.server.start()

    async def stop(self, grace_s: float) -> None:
        """No new requests; those that run may finish within `grace_s`."""
        await self.server.stop(grace_s)
        await self.doorkeeper.stop()
        await self.fleet.stop()
        await self.announcer.close()
        await self.registry.close()
        await self.telemetry.close()
        if self.recording is not None:
            self.recording.close()


async def build_gateway(deployment: Deployment) -> LiveGateway:
    """What it needs of the model is fetched in a thread.

    Raises ModelError, UnsupportedTokenizer, BadKeysFile or RecordingRefused.
    """
    source = await asyncio.to_thread(tokenizer_source, deployment)
    return build_gateway_of(source, deployment)


def build_gateway_of(source: ModelSource, deployment: Deployment) -> LiveGateway:
    """Of a model that is here. Inside a running event loop."""
    clock = OsClock()
    registry, announcer = connect_registry(deployment), connect_announcer(deployment)
    cluster = Cluster(ClusterConfig())
    transport = Transport(deployment.internal_tls)
    connect = partial(GrpcReplicaClient, config=LinkConfig(), transport=transport)
    tokenizer = load_tokenizer(source.path)
    own_model = OwnModel(source.name, tokenizer.vocab_size)
    fleet = Fleet(registry, connect, cluster, clock, FleetConfig(), own_model)
    recording = Recording(deployment.record_file) if deployment.record_file else None
    choose = recording.watch(route) if recording else route
    dispatch = Dispatch(fleet, cluster, registry, clock, DispatchConfig(), choose, announcer)
    metrics = GatewayMetrics()
    metrics.registry.register(FleetCollector(cluster, clock))
    metrics.registry.register(AnnouncementCollector(lambda: announcer.forgotten))
    doorkeeper = Doorkeeper(deployment, clock, metrics)
    telemetry = Telemetry("gateway", host_port(gethostname(), deployment.http_port))
    server = GatewayServer(
        Gateway(dispatch, tokenizer, clock=clock, metrics=metrics, tracing=telemetry.tracing),
        keys=doorkeeper.keys,
        http_limits=HttpLimits(connections_max=allow_connections(HttpLimits().connections_max)),
        host=deployment.host,
        http_port=deployment.http_port,
        grpc_port=deployment.grpc_port,
        tls=DoorTls(deployment.tls) if deployment.tls is not None else None,
    )
    if deployment.ui:
        add_page(server.app, PageState(fleet, dispatch, clock))
    return LiveGateway(
        recording, registry, announcer, fleet, dispatch, doorkeeper, telemetry, server
    )
