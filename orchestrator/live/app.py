"""The whole cluster as one Serve application: `orchestrator.live.app:build`.

`blockyard up` runs it on a local Ray; a Serve config file names the same
import path and passes the fields of Deployment as `args`.

Serve makes a Deployment of them when it finds the class, not its name, in
`build`'s annotation: this module's annotations must not be postponed.
"""

from typing import Any

import ray
from ray import serve
from ray.serve import Application

from orchestrator.config import Deployment
from orchestrator.live.autoscaling import autoscaling
from orchestrator.live.deployments import ControlPlaneActor, GatewayActor, ReplicaActor

# Tokens never enter an actor through a Serve handle; health checks do.
HANDLE_CALLS_MAX = 100
HEALTH_PERIOD_S = 1.0
HEALTH_TIMEOUT_S = 10.0
# In a cluster: as good as for ever. A model that comes late, or a store that was away, is
# found once it is there; Serve by itself gives up after three starts, for good.
STARTS_MAX = 1_000_000
# On top of what running requests get: leaving the registry, closing listeners.
STOP_MARGIN_S = 5.0


def build(deployment: Deployment) -> Application:
    """Bind the three deployments: replicas and control plane behind the gateway."""
    gpus = 1 if uses_gpu(deployment) else 0
    replicas = serve_deployment(
        ReplicaActor,
        "replica",
        deployment,
        resources={"num_cpus": 1, "num_gpus": gpus},
        **replica_count(deployment),
        max_replicas_per_node=None if deployment.replica_port is None else 1,
    )
    control_plane = serve_deployment(
        ControlPlaneActor,
        "control-plane",
        deployment,
        resources={"num_cpus": 0.5},
        num_replicas=deployment.control_planes,
        # Nodes of their own each keep the fixed port; on one machine only the first does.
        max_replicas_per_node=None if deployment.role_label is None else 1,
    )
    gateway = serve_deployment(
        GatewayActor,
        "gateway",
        deployment,
        resources={"num_cpus": 1},
        max_replicas_per_node=1,  # its ports are fixed
    )
    return gateway.bind(deployment, replicas.bind(deployment), control_plane.bind(deployment))


def replica_count(deployment: Deployment) -> dict[str, Any]:
    """A number, or who finds it."""
    scaling = autoscaling(deployment)
    if scaling is None:
        return {"num_replicas": deployment.replicas}
    return {"autoscaling_config": scaling}


def serve_deployment(
    actor: type, name: str, deployment: Deployment, resources: dict[str, Any], **options: Any
) -> serve.Deployment:
    """What all three have in common for Serve; each is pinned to the nodes of its name."""
    role = {} if deployment.role_label is None else {deployment.role_label: name}
    if deployment.role_label is not None:
        options["max_constructor_retry_count"] = STARTS_MAX
    decorate = serve.deployment(
        name=name,
        max_ongoing_requests=HANDLE_CALLS_MAX,
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_timeout_s=deployment.drain_s + STOP_MARGIN_S,
        ray_actor_options={**resources, "label_selector": role},
        **options,
    )
    return decorate(actor)


def uses_gpu(deployment: Deployment) -> bool:
    """Whether replicas ask Ray for a GPU each: when told to, or when the cluster has any."""
    if deployment.device != "auto":
        return deployment.device == "cuda"
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("GPU", 0) > 0
