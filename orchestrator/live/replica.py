"""A replica by what its deployment says: the same as an actor of Serve and as a process."""

from __future__ import annotations

import asyncio

from orchestrator.config import Deployment
from orchestrator.live.delivery import delivery_of
from orchestrator.live.vocabulary import read_vocabulary
from orchestrator.registry.redis import RedisRegistry
from protos.messages import ReplicaId
from replicas.config import ReplicaConfig
from replicas.serving.build import build_replica
from replicas.serving.replica import Replica
from replicas.serving.starting import starting


def config_of(replica_id: ReplicaId, deployment: Deployment) -> ReplicaConfig:
    """What every replica of the deployment is told; where it differs from others is its own."""
    return ReplicaConfig(
        replica_id=replica_id,
        host=deployment.host,
        port=deployment.replica_port or 0,
        advertise_host=deployment.advertise_host,
        internal_tls=deployment.internal_tls,
        health_port=deployment.health_port,
        copy_bytes_per_s=deployment.copy_bytes_per_s,
    )


async def built(config: ReplicaConfig, deployment: Deployment, registry: RedisRegistry) -> Replica:
    """Not started. The model comes and loads in a thread, and health is answered meanwhile.

    Raises CannotListen, ModelError or DoesNotFit.
    """
    async with starting(config) as watch:
        return await asyncio.to_thread(
            build_replica,
            config,
            model=deployment.model,
            device=deployment.device,
            dtype=deployment.dtype,
            deterministic=deployment.deterministic,
            blocks_total=deployment.blocks,
            block_size=deployment.block_size,
            guesses_max=deployment.guesses_max,
            host_gib=deployment.host_gib,
            registry=registry,
            directory=registry,
            vocabulary=read_vocabulary,
            delivery=delivery_of(deployment),
            watch=watch,
        )
