"""What the production overlay says, made to fit one machine.

The Serve config, the groups of pods, their environment and the Secrets are
those of `deploy/overlays/prod`: what is changed is named in `ON_ONE_MACHINE`
and in `serve_config`, and is only what one machine without GPUs cannot have.
GPUs are Ray's bookkeeping here: nodes of the group `replica` say that they
have one, and replicas ask for one by the rule of `orchestrator/live/app.py`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.config import Deployment
from orchestrator.live.app import build
from tests.deploy import serve_config as shipped
from tests.deploy.redis_server import Server
from tests.deploy.rendering import Manifest, groups, only, overlay, pod
from tests.ports import free_ports

ROLES = ("gateway", "control-plane", "replica")
REPLICAS = 2  # prod has more; each is a node and a process that computes
PORTS = ("http_port", "grpc_port", "control_port", "replica_port", "metrics_port")
ON_ONE_MACHINE = {
    "model": "tiny",
    "device": "cpu",
    "dtype": "float32",
    "blocks": 1200,
    # Nodes share a machine, but each has a loopback address of its own.
    "host": "node",
    "log_format": "text",
}

ServeConfig = dict[str, Any]


def prod() -> list[Manifest]:
    return overlay("prod")


def service() -> Manifest:
    return only(prod(), "RayService")


def serve_config(keys_file: Path) -> ServeConfig:
    """The overlay's, with ports, paths, model and number of replicas of this machine."""
    config = shipped.serve_config(service())
    *ports, proxy_port = free_ports(len(PORTS) + 1)
    config["http_options"] |= {"host": "127.0.0.1", "port": proxy_port}
    config["proxy_location"] = "HeadOnly"  # seven would take the cores that actors start on
    (application,) = config["applications"]
    asked = Deployment.model_validate(application["args"])
    application["args"] |= ON_ONE_MACHINE | dict(zip(PORTS, ports, strict=True))
    application["args"]["keys_file"] = str(keys_file)
    replica = deployment_of(config, "replica")
    replica["num_replicas"] = REPLICAS
    replica["ray_actor_options"] = actor_options(asked)["replica"]
    return config


def deployment_of(config: ServeConfig, name: str) -> dict[str, Any]:
    (application,) = config["applications"]
    (found,) = (one for one in application["deployments"] if one["name"] == name)
    return dict_of(found)


def dict_of(value: Any) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def arguments(config: ServeConfig) -> Deployment:
    """What the application gets."""
    (application,) = config["applications"]
    return Deployment.model_validate(application["args"])


def actor_options(asked: Deployment) -> dict[str, dict[str, Any]]:
    """What each deployment asks of Ray for an actor, where `asked` says the device."""
    application = build(asked)
    return {
        one.name: dict(one.ray_actor_options or {}) for one in shipped.deployments_of(application)
    }


def start_options(role: str) -> list[str]:
    """Of `ray start` in a pod of that role, as the operator derives them from the group."""
    group = groups(prod())[role]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    labels = ",".join(f"{name}={value}" for name, value in group["labels"].items())
    return [
        f"--num-cpus={math.ceil(float(limits['cpu']))}",
        f"--num-gpus={limits.get('nvidia.com/gpu', 0)}",
        f"--labels={labels}",
        *parameters(group),
    ]


def head_options() -> list[str]:
    """Of the head; where its dashboard listens is the machine's own business."""
    group = service()["spec"]["rayClusterConfig"]["headGroupSpec"]
    return [word for word in parameters(group) if "dashboard-host" not in word]


def parameters(group: Manifest) -> list[str]:
    return [f"--{name}={value}" for name, value in group["rayStartParams"].items()]


def environment(role: str, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What a pod of that role finds in its environment, its Secrets looked up."""
    container = pod(prod(), role)["spec"]["containers"][0]
    return dict(variable(entry, secrets) for entry in container.get("env", ()))


def head_environment(redis: Server) -> dict[str, str]:
    """The head's, and where the operator tells it that its Redis is: here, on this machine."""
    spec = service()["spec"]["rayClusterConfig"]
    scheme, _, _ = spec["gcsFaultToleranceOptions"]["redisAddress"].partition("://")
    container = spec["headGroupSpec"]["template"]["spec"]["containers"][0]
    (mount,) = (each["mountPath"] for each in container["volumeMounts"] if "redis" in each["name"])
    given = dict(variable(entry, redis.secrets) for entry in container["env"])
    return {
        **{name: value.replace(mount, str(redis.ca_path.parent)) for name, value in given.items()},
        "RAY_REDIS_ADDRESS": f"{scheme}://localhost:{redis.port}",
    }


def variable(entry: Manifest, secrets: Mapping[str, Mapping[str, str]]) -> tuple[str, str]:
    if "value" in entry:
        return entry["name"], str(entry["value"])
    reference = entry["valueFrom"]["secretKeyRef"]
    return entry["name"], secrets[reference["name"]][reference["key"]]


def raycluster(*, replicas_most: int, idle_s: int) -> Manifest:
    """The RayCluster of which the operator makes pods, with the counts of this machine."""
    spec = dict_of(service()["spec"]["rayClusterConfig"])
    spec["autoscalerOptions"]["idleTimeoutSeconds"] = idle_s
    for group in spec["workerGroupSpecs"]:
        if group["groupName"] == "replica":
            group |= {"minReplicas": REPLICAS, "replicas": REPLICAS, "maxReplicas": replicas_most}
    return spec


def scaled_by_load(config: ServeConfig, **arguments: Any) -> ServeConfig:
    """The same with a range instead of a number, as deploy/README.md says to write it."""
    scaled = copy.deepcopy(config)
    (application,) = scaled["applications"]
    application["args"] |= arguments
    del deployment_of(scaled, "replica")["num_replicas"]
    return scaled
