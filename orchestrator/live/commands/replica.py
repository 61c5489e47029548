"""`blockyard replica`: one engine of a cluster as a process of its own (processes.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import click

from orchestrator.config import Deployment
from orchestrator.live.commands.options import HEALTH_PORT, PORT, process_options
from orchestrator.live.commands.processes import ADVERTISE_PORT, run
from orchestrator.live.registry_url import connect_registry
from orchestrator.live.replica import built, config_of
from protos.messages import ReplicaId
from replicas.serving.build import DoesNotFit
from replicas.serving.replica import ReplicaUnhealthy


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
    "host_gib",
    "device",
    "dtype",
    "guesses_max",
    "deterministic",
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
    config = replace(config_of(replica_id, deployment), advertise_port=advertise_port)
    running = await built(config, deployment, registry)
    try:
        yield await running.start(), running.check_health
    finally:
        await running.stop(deployment.drain_s)
        await registry.close()
