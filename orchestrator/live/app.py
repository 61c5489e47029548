"""The whole cluster as one Serve application: `orchestrator.live.app:build`.

`blockyard up` runs it on a local Ray; a Serve config file names the same
import path and passes the fields of ClusterConfig as `args`.
"""

from __future__ import annotations

import ray
from ray import serve
from ray.serve import Application

from orchestrator.config import ClusterConfig
from orchestrator.live.deployments import (
    ControlPlaneDeployment,
    GatewayDeployment,
    ReplicaDeployment,
)


def build(config: ClusterConfig) -> Application:
    """Bind the three deployments: replicas and control plane behind the gateway."""
    gpus = 1 if uses_gpu(config) else 0
    replicas: serve.Deployment = ReplicaDeployment.options(
        num_replicas=config.replicas,
        ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
        graceful_shutdown_timeout_s=config.drain_s + 5.0,
    )
    control_plane: serve.Deployment = ControlPlaneDeployment.options(
        ray_actor_options={"num_cpus": 0.5}
    )
    gateway: serve.Deployment = GatewayDeployment.options(
        ray_actor_options={"num_cpus": 1},
        graceful_shutdown_timeout_s=config.drain_s + 5.0,
    )
    return gateway.bind(config, replicas.bind(config), control_plane.bind(config))


def uses_gpu(config: ClusterConfig) -> bool:
    """Whether replicas ask Ray for a GPU each: when told to, or when the cluster has any."""
    if config.device != "auto":
        return config.device == "cuda"
    return bool(ray.cluster_resources().get("GPU", 0))
