"""`blockyard replica`: one engine of a cluster as a process of its own (processes.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import click

from orchestrator.config import Deployment
from orchestrator.live.commands.options import HEALTH_PORT, PORT, process_options
from orchestrator.live.commands.processes import ADVERTISE_PORT, run
from orchestrator.live.delivery import delivery_of
from orchestrator.live.registry_url import connect_registry
from orchestrator.live.vocabulary import read_vocabulary
from protos.messages import ReplicaId
from replicas.config import ReplicaConfig
from replicas.serving.build import DoesNotFit, build_replica
from replicas.serving.replica import ReplicaUnhealthy
from replicas.serving.starting import starting


@click.command()
@click.argument("replica_id", metavar="NAME")
@process_options(
    "advertise_host",
    "drain_s",
    "model",
    "model_cache",
    "model_checksums",
    "blocks",
    "block_size",
    "device",
    "dtype",
    "copy_gbps",
)
@click.option("--port", "replica_port", type=PORT, help="Default: any free one.")
@HEALTH_PORT
@ADVERTISE_PORT
def replica(replica_id: str, advertise_port: int | None, **values: Any) -> None:
    """Serve one model on one device, as the replica NAME of a cluster."""
    name = ReplicaId(replica_id)
    run(
        lambda deployment: replica_process(name, deployment, advertise_port),
        values,
        DoesNotFit,
        ReplicaUnhealthy,
    )


@asynccontextmanager
async def replica_process(
    replica_id: ReplicaId, deployment: Deployment, advertise_port: int | None
) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    registry = connect_registry(deployment)
    config = ReplicaConfig(
        replica_id=replica_id,
        host=deployment.host,
        port=deployment.replica_port or 0,
        advertise_host=deployment.advertise_host,
        advertise_port=advertise_port,
        internal_tls=deployment.internal_tls,
        health_port=deployment.health_port,
        copy_bytes_per_s=deployment.copy_bytes_per_s,
    )
    async with starting(config) as watch:
        built = await asyncio.to_thread(
            build_replica,
            config,
            model=deployment.model,
            device=deployment.device,
            dtype=deployment.dtype,
            blocks_total=deployment.blocks,
            block_size=deployment.block_size,
            registry=registry,
            directory=registry,
            vocabulary=read_vocabulary,
            delivery=delivery_of(deployment),
            watch=watch,
        )
    try:
        yield await built.start(), built.check_health
    finally:
        await built.stop(deployment.drain_s)
        await registry.close()
